//! Renewal of leases by queries that no request waits for. A worker's thread begins one and finds its answer later;
//! another thread sends it, and writes the line of its lease before the worker sees it.

use std::sync::{Arc, OnceLock};

use crate::amounts::{Amount, Grant, Terms, parse_grant, parse_terms};
use crate::pending::Query;
use crate::rejections::Answer;
use crate::starts::Starts;

/// The queries of a gateway's process that wait to be sent; beyond it a renewal has no answer.
pub const WAITING_LIMIT: usize = 1024;

/// The place where the answer to one renewal arrives.
#[derive(Debug)]
pub struct Ticket {
    /// When the query was begun.
    pub sent: i64,
    /// The round of confirmations in which it was begun.
    pub round: u64,
    answer: OnceLock<Answer>,
}

/// A renewal to send.
pub struct Renewal {
    /// The query.
    pub query: Query,
    /// Where its answer is expected.
    pub ticket: Arc<Ticket>,
}

impl Ticket {
    /// A query that begins.
    #[must_use]
    pub const fn new(sent: i64, round: u64) -> Self {
        Self { sent, round, answer: OnceLock::new() }
    }

    /// Takes the answer. A lease whose line cannot be written is none.
    pub fn finish(&self, answer: Answer, starts: &mut Starts, now: i64) {
        let is_kept = read_lease(&answer).is_some_and(|(grant, terms)| {
            grant.lease != "-" && starts.append(&lease_line(&grant, terms.amount, self.sent + terms.milliseconds), now)
        });
        let _ = self.answer.set(if is_kept { answer } else { Answer::default() });
    }

    /// Ends the renewal without an answer.
    pub fn fail(&self) {
        let _ = self.answer.set(Answer::default());
    }

    /// The answer, once it is there. Status 0: there is no lease.
    #[must_use]
    pub fn answer(&self) -> Option<&Answer> {
        self.answer.get()
    }
}

/// The grant of a renewal, and its terms: no request takes what token-quota reserves for the one that queries, so the lease
/// holds that too. None if the answer is no grant.
#[must_use]
pub fn read_lease(answer: &Answer) -> Option<(Grant, Terms)> {
    let grant = answer.header("x-arks-grant").and_then(parse_grant).filter(|_| answer.status == 200)?;
    let mut terms = answer.header("x-arks-lease").and_then(parse_terms)?;
    terms.amount = terms.amount.with(grant.reserved);
    Some((grant, terms))
}

/// The line of a lease in the starts file: all that it holds, and when it ends.
#[must_use]
pub fn lease_line(grant: &Grant, whole: Amount, stop: i64) -> String {
    let Amount { requests, prompt, completion } = whole;
    format!("L\t{}\t{stop}\t{requests}\t{prompt}\t{completion}\t{}\n", grant.lease, grant.subject)
}
