//! Queries that no request waits for: of the next lease, and of what has ended leases. A worker's thread begins one and
//! finds its answer later; another thread sends it, and writes the line of its lease before the worker sees it.

use std::fmt::Write;
use std::sync::{Arc, OnceLock};

use crate::amounts::{Amount, Grant, NO_LEASE, Terms, number, parse_grant, parse_terms};
use crate::json_text::push_text;
use crate::line_file::LineFile;
use crate::pending::Query;
use crate::rejections::Answer;

/// The queries of each kind that wait in a gateway's process to be sent; beyond it a query has no answer.
pub const WAITING_LIMIT: usize = 1024;
/// The digits of the time until a lease begins, in milliseconds.
const BEGINS_DIGITS: usize = 5;

/// When a lease counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// When its query was sent.
    pub sent: i64,
    /// When it begins.
    pub begin: i64,
    /// When it ends.
    pub stop: i64,
}

impl Span {
    /// Of a lease that begins with its query.
    #[must_use]
    pub const fn from_query(sent: i64, milliseconds: i64) -> Self {
        Self { sent, begin: sent, stop: sent + milliseconds }
    }
}

/// The lease of a renewal.
#[derive(Debug)]
pub struct Renewed {
    /// The whole answer.
    pub answer: Answer,
    /// Its grant.
    pub grant: Grant,
    /// Its terms.
    pub terms: Terms,
    /// When it counts.
    pub span: Span,
}

/// The place where the answer to the query of a lease arrives.
#[derive(Debug)]
pub struct Ticket {
    /// When the query was begun.
    pub sent: i64,
    /// The round of confirmations in which it was begun.
    pub round: u64,
    renewed: OnceLock<Option<Renewed>>,
}

impl Ticket {
    /// A query that begins.
    #[must_use]
    pub const fn new(sent: i64, round: u64) -> Self {
        Self { sent, round, renewed: OnceLock::new() }
    }

    /// Takes the answer. A lease whose line cannot be written is none.
    pub fn finish(&self, answer: Answer, starts: &mut LineFile, now: i64) {
        let renewed = read_lease(answer, self.sent, now).filter(|Renewed { grant, terms, span, .. }| {
            grant.lease != NO_LEASE && starts.append(&lease_line(grant, terms.amount, span.stop), now)
        });
        let _ = self.renewed.set(renewed);
    }

    fn fail(&self) {
        let _ = self.renewed.set(None);
    }

    /// Whether the query has ended.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        self.renewed.get().is_some()
    }

    /// The lease, if the query has ended with one.
    #[must_use]
    pub fn renewed(&self) -> Option<&Renewed> {
        self.renewed.get()?.as_ref()
    }
}

/// The place where the answer to a query of changes arrives.
#[derive(Debug)]
pub struct ChangesTicket {
    /// When the query was begun.
    pub sent: i64,
    answer: OnceLock<Answer>,
}

impl ChangesTicket {
    /// A query that begins.
    #[must_use]
    pub const fn new(sent: i64) -> Self {
        Self { sent, answer: OnceLock::new() }
    }

    /// Takes the answer.
    pub fn finish(&self, answer: Answer) {
        let _ = self.answer.set(answer);
    }

    /// The answer, once it is there. Status 0: there was none.
    #[must_use]
    pub fn answer(&self) -> Option<&Answer> {
        self.answer.get()
    }
}

/// Where an answer is expected.
#[derive(Debug)]
pub enum Receiver {
    /// That to the query of a lease.
    Lease(Arc<Ticket>),
    /// That to the query of changes.
    Changes(Arc<ChangesTicket>),
}

impl Receiver {
    /// Takes the answer.
    pub fn finish(&self, answer: Answer, starts: &mut LineFile, now: i64) {
        match self {
            Self::Lease(ticket) => ticket.finish(answer, starts, now),
            Self::Changes(ticket) => ticket.finish(answer),
        }
    }

    /// Ends the query without an answer.
    pub fn fail(&self) {
        match self {
            Self::Lease(ticket) => ticket.fail(),
            Self::Changes(ticket) => ticket.finish(Answer::default()),
        }
    }
}

/// A query to send.
pub struct Renewal {
    /// The query.
    pub query: Query,
    /// Where its answer is expected.
    pub receiver: Receiver,
}

/// The lease of a renewal that was `sent` and is answered `now`. No request takes what token-quota reserves for the one
/// that queries, so the lease holds that too. It counts from `x-arks-begins` after its answer until its end after its
/// query: so it lies within its window by token-quota's clock, whatever this machine's clock shows. None if the answer is
/// no grant.
#[must_use]
pub fn read_lease(answer: Answer, sent: i64, now: i64) -> Option<Renewed> {
    let grant = answer.header("x-arks-grant").and_then(parse_grant).filter(|_| answer.status == 200)?;
    let mut terms = answer.header("x-arks-lease").and_then(parse_terms)?;
    terms.amount = terms.amount.with(grant.reserved);
    let span = match answer.header("x-arks-begins") {
        None => Span::from_query(sent, terms.milliseconds),
        Some(text) => {
            let begins = number(std::str::from_utf8(text).ok()?, BEGINS_DIGITS)?;
            Span { sent, begin: now + begins, stop: sent + begins + terms.milliseconds }
        }
    };
    Some(Renewed { answer, grant, terms, span })
}

/// The line of a lease in the starts file: all that it holds, and when it ends.
#[must_use]
pub fn lease_line(grant: &Grant, whole: Amount, stop: i64) -> String {
    let Amount { requests, prompt, completion } = whole;
    let mut line = String::from("[\"L\",");
    push_text(&mut line, &grant.lease);
    // A String takes all that is written.
    let _ = write!(line, ",{stop},{requests},{prompt},{completion},");
    push_text(&mut line, &grant.subject);
    line.push_str("]\n");
    line
}
