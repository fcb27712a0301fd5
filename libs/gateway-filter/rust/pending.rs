//! A request on its way to a decision, and the decisions.

use std::fmt::Write;
use std::rc::Rc;

use crate::affinity::Affinity;
use crate::amounts::{NO_LEASE, Reservation, Wish, estimate};
use crate::json_text::push_text;
use crate::leases::{Account, Lease};
use crate::ratio::Ratio;
use crate::rejections::Reply;
use crate::request::Request;

/// Most lines of the starts file are shorter without names: a line that grows is copied.
const LINE_BYTES: usize = 192;

/// A path that makes tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `/v1/chat/completions`.
    Chat,
    /// `/v1/completions`.
    Completions,
    /// `/v1/embeddings`.
    Embeddings,
}

impl Operation {
    /// The operation of a path without its query, or None.
    #[must_use]
    pub fn of_path(path: &[u8]) -> Option<Self> {
        match path {
            b"/v1/chat/completions" => Some(Self::Chat),
            b"/v1/completions" => Some(Self::Completions),
            b"/v1/embeddings" => Some(Self::Embeddings),
            _ => None,
        }
    }

    /// Its path.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
            Self::Embeddings => "/v1/embeddings",
        }
    }

    /// The member of its requests that has the prompt.
    #[must_use]
    pub const fn prompt(self) -> &'static str {
        match self {
            Self::Chat => "messages",
            Self::Completions => "prompt",
            Self::Embeddings => "input",
        }
    }

    /// Its name in the usage log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat.completions",
            Self::Completions => "completions",
            Self::Embeddings => "embeddings",
        }
    }
}

/// A query of token-quota.
#[derive(Debug, PartialEq, Eq)]
pub struct Query {
    /// The path, for POST.
    pub path: &'static str,
    /// Headers.
    pub headers: Vec<(&'static str, Vec<u8>)>,
    /// The body; empty for nearly all.
    pub body: Vec<u8>,
    /// How long its answer may take.
    pub milliseconds: i64,
}

/// A request that passes to an engine.
pub struct Start {
    /// The lease that it takes from.
    pub lease: Lease,
    /// What it reserves.
    pub reserved: Reservation,
    /// The cluster to which it goes.
    pub cluster: Rc<str>,
    /// The name by which the engines know the model, if it is another one.
    pub engine_model: Option<Rc<[u8]>>,
    /// What requests of the endpoint are held together by.
    pub affinity: Option<Rc<Affinity>>,
}

/// What becomes of a request now.
pub enum Decision {
    /// It passes.
    Start(Start),
    /// It is rejected.
    Reject(Rc<Reply>),
    /// It waits for the answer to a query.
    Query(Query),
}

/// How far a request is.
pub(crate) enum Stage {
    /// No query is in flight.
    New,
    /// Whether its lease still counts is queried.
    Confirming { sent: i64 },
    /// Its admission is queried.
    Querying { sent: i64, is_demand: bool },
    /// token-quota holds it until an engine is ready.
    Held,
}

/// A request whose body was read, until it passes or is rejected.
pub struct Pending {
    /// The value of its header `authorization`.
    pub authorization: Vec<u8>,
    /// Its id.
    pub id: String,
    /// What makes its tokens.
    pub operation: Operation,
    /// Its body, as far as it was read.
    pub request: Request,
    pub(crate) key: Vec<u8>,
    pub(crate) prompt_tokens: u64,
    pub(crate) stage: Stage,
}

impl Pending {
    /// A request that was read.
    #[must_use]
    pub fn new(authorization: Vec<u8>, id: String, operation: Operation, request: Request) -> Self {
        let mut key = Vec::with_capacity(authorization.len() + 1 + request.model.len());
        key.extend_from_slice(&authorization);
        key.push(b'\n');
        key.extend_from_slice(&request.model);
        let prompt_tokens = Ratio::default().tokens(request.bytes);
        Self { authorization, id, operation, request, key, prompt_tokens, stage: Stage::New }
    }

    pub(crate) fn estimate(&self, default_completion: Option<i64>) -> (i64, Option<i64>, i64) {
        let wish = Wish {
            prompt: self.prompt_tokens,
            max_tokens: self.request.max_tokens,
            answers: self.request.answers.unwrap_or(1),
            is_embedding: self.operation == Operation::Embeddings,
        };
        estimate(wish, default_completion)
    }

    pub(crate) fn reservation(&self, account: &Account) -> Reservation {
        let (prompt, completion, _) = self.estimate(account.default_completion);
        Reservation { prompt, completion: completion.unwrap_or_default() }
    }
}

/// The line of a request that passes. Without a lease it has the names that the lease's line would have.
pub(crate) fn start_line(pending: &Pending, lease: &Lease, reserved: Reservation, now: i64) -> String {
    let names = lease.grant.strip_suffix("/-").filter(|_| &*lease.id == NO_LEASE);
    let mut line = String::with_capacity(LINE_BYTES + names.map_or(0, str::len));
    line.push_str("[\"S\",");
    push_text(&mut line, &pending.id);
    line.push(',');
    push_text(&mut line, &lease.id);
    // A String takes all that is written.
    let _ = write!(line, ",{},{},\"{}\",{now}", reserved.prompt, reserved.completion, pending.operation.name());
    if let Some(names) = names {
        line.push(',');
        push_text(&mut line, names);
    }
    line.push_str("]\n");
    line
}

/// Makes Envoy's random UUID one of version 7 (RFC 9562), which begins with the time, `now` in milliseconds: the ledger's
/// index on request ids then grows at its end, for half of the processor time of an index on random ones.
#[must_use]
pub fn ordered(id: &[u8], now: i64) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut id = String::from_utf8_lossy(id).into_owned().into_bytes();
    if id.len() == 36 && id.is_ascii() {
        let time = now.to_be_bytes();
        for (at, half) in (0..8).chain(9..13).zip(4..) {
            let byte = time[half / 2];
            id[at] = DIGITS[usize::from(if half % 2 == 0 { byte >> 4 } else { byte & 15 })];
        }
        (id[8], id[13], id[14]) = (b'-', b'-', b'7');
    }
    String::from_utf8(id).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::ordered;

    #[test]
    fn an_id_begins_with_the_time_in_milliseconds() {
        let random = b"5e9c3b2a-7f41-4c3d-9a1b-0123456789ab";
        let id = ordered(random, 0x0199_abcd_ef12);
        assert_eq!(id, "0199abcd-ef12-7c3d-9a1b-0123456789ab");
        assert!(id < ordered(random, 0x0199_abcd_ef13));
    }

    #[test]
    fn an_id_that_is_no_uuid_stays_as_it_is() {
        assert_eq!(ordered(b"short", 1), "short");
    }
}
