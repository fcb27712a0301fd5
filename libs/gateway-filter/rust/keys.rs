//! The key before a long body is read: a client without a key cannot make Envoy buffer it.

use std::rc::Rc;

use crate::admission::Worker;
use crate::amounts::number;
use crate::pending::{Decision, Query};
use crate::rejections::{Answer, Reply, Scope, parse_refusal};
use crate::tables::{ADMISSION_MILLISECONDS, HOLD_MILLISECONDS, OUTAGE_MILLISECONDS, is_valid};

impl Worker {
    /// Decides on a request by its key alone; None: its body may be read.
    pub fn decide_key(&mut self, authorization: &[u8], now: i64) -> Option<Decision> {
        if self.known_keys.get(authorization).is_some_and(|until| is_valid(*until, now, HOLD_MILLISECONDS)) {
            return None;
        }
        if let Some(reply) = self.held_by_key(authorization, now) {
            return Some(Decision::Reject(reply));
        }
        let mut headers = vec![("authorization", authorization.to_vec())];
        headers.extend(self.identity.header());
        Some(Decision::Query(Query { path: "/v1/key", headers, body: vec![], milliseconds: ADMISSION_MILLISECONDS }))
    }

    /// The answer to a client with too many wrong keys, or None. `address` finds its address; it is read only after
    /// failures, and not for a key that was valid in the last 10 minutes.
    pub fn limited_by_failures(
        &mut self,
        authorization: &[u8],
        address: impl FnOnce() -> Option<Vec<u8>>,
        now: i64,
    ) -> Option<Rc<Reply>> {
        if !self.failures.is_alert(now) || self.was_valid(authorization, now) {
            return None;
        }
        let exceeds = self.failures.exceeds(&address()?, now);
        exceeds.then(|| Reply::too_many_failures().into())
    }

    /// Counts a key that does not exist, of a client with this address.
    pub fn add_failure(&mut self, address: Option<Vec<u8>>, now: i64) {
        if let Some(address) = address {
            self.failures.add(address, now);
        }
    }

    /// Keeps that a key was valid when a query was `sent`.
    pub(crate) fn prove(&mut self, authorization: &[u8], sent: i64) {
        match self.known_keys.get(authorization) {
            Some(until) => *until = sent.max(*until),
            None => self.known_keys.put(authorization.to_vec(), sent),
        }
    }

    fn was_valid(&mut self, authorization: &[u8], now: i64) -> bool {
        self.known_keys
            .get(authorization)
            .is_some_and(|until| is_valid(*until + OUTAGE_MILLISECONDS, now, OUTAGE_MILLISECONDS + HOLD_MILLISECONDS))
    }

    /// Takes the answer to the query of a key that was `sent`; None: the body may be read.
    pub fn decide_key_answered(
        &mut self,
        authorization: &[u8],
        answer: &Answer,
        (sent, now): (i64, i64),
    ) -> Option<Rc<Reply>> {
        if answer.status == 204 {
            let milliseconds = answer.header("x-arks-valid-milliseconds").map(String::from_utf8_lossy);
            let milliseconds = milliseconds.and_then(|value| number(&value, 10)).unwrap_or_default();
            self.known_keys.put(authorization.to_vec(), sent + milliseconds.min(HOLD_MILLISECONDS));
            return None;
        }
        if answer.status == 404 {
            return None; // a token-quota of 0.1.0 has no such path: admission decides, once the body is read
        }
        if let Some(rejection) = answer.rejection() {
            if let Some((milliseconds, Scope::Key)) = answer.header("x-arks-refusal").and_then(parse_refusal) {
                self.rejections.hold(authorization.to_vec(), (now, milliseconds, 0), rejection.clone(), (0, 0));
            }
            return Some(rejection.into());
        }
        // The last failure policy decides, once the model is known.
        if self.was_valid(authorization, now) { None } else { Some(Reply::unavailable().into()) }
    }
}
