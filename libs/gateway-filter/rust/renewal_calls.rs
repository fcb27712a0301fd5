//! Which renewals go into one call of token-quota: those that come while a call is in flight go into the next one
//! together. At a window's end each key needs a lease, and a call for each would cost both programs more than the leases.

use std::collections::{HashMap, VecDeque};

use crate::pending::Query;
use crate::rejections::Answer;
use crate::renewals::{Receiver, Renewal, WAITING_LIMIT};

/// The leases that one call brings at most.
const TOGETHER: usize = 32;
/// A call that takes longer, in milliseconds, holds back no other.
const GATHER_MILLISECONDS: i64 = 100;
const GATEWAY_TOKEN: &str = "x-arks-gateway-token";
const BETWEEN: &str = "\n\n";

/// The renewals of a process that wait to be sent, and those in flight.
#[derive(Default)]
pub struct Calls {
    changes: VecDeque<Renewal>,
    leases: VecDeque<Renewal>,
    in_flight: HashMap<u64, Vec<Receiver>>,
    leasing: usize,
    sent: i64,
}

impl Calls {
    /// Takes a renewal that is to be sent. Gives it back if too many wait.
    pub fn add(&mut self, renewal: Renewal) -> Option<Renewal> {
        let waiting = match renewal.receiver {
            Receiver::Lease(_) => &mut self.leases,
            Receiver::Changes(_) => &mut self.changes,
        };
        if waiting.len() >= WAITING_LIMIT {
            return Some(renewal);
        }
        waiting.push_back(renewal);
        None
    }

    /// What is to be sent now in one call.
    pub fn next(&mut self, now: i64) -> Option<(Query, Vec<Receiver>)> {
        if let Some(Renewal { query, receiver }) = self.changes.pop_front() {
            return Some((query, vec![receiver]));
        }
        let is_late = !(self.sent..self.sent + GATHER_MILLISECONDS).contains(&now);
        if self.leases.is_empty() || (self.leasing > 0 && self.leases.len() < TOGETHER && !is_late) {
            return None;
        }
        self.sent = now;
        let taken = self.leases.drain(..self.leases.len().min(TOGETHER));
        let (queries, receivers): (Vec<_>, Vec<_>) = taken.map(|renewal| (renewal.query, renewal.receiver)).unzip();
        Some((join(queries), receivers))
    }

    /// Keeps who waits for a call that was sent.
    pub fn begun(&mut self, callout: u64, receivers: Vec<Receiver>) {
        self.leasing += usize::from(has_leases(&receivers));
        self.in_flight.insert(callout, receivers);
    }

    /// Who gets which part of the answer to a call.
    pub fn answered(&mut self, callout: u64, answer: Answer) -> Vec<(Receiver, Answer)> {
        let receivers = self.in_flight.remove(&callout).unwrap_or_default();
        self.leasing -= usize::from(has_leases(&receivers));
        let answers = if receivers.len() > 1 { split(&answer) } else { vec![answer] };
        let answers = answers.into_iter().chain(std::iter::repeat_with(Answer::default));
        receivers.into_iter().zip(answers).collect()
    }
}

fn has_leases(receivers: &[Receiver]) -> bool {
    matches!(receivers, [Receiver::Lease(_), ..])
}

/// One query for all of them: their headers are its body.
fn join(mut queries: Vec<Query>) -> Query {
    if queries.len() == 1 {
        return queries.remove(0);
    }
    let milliseconds = queries[0].milliseconds;
    let headers = queries[0].headers.iter().filter(|(name, _)| *name == GATEWAY_TOKEN).cloned().collect();
    let mut body = Vec::new();
    for query in &queries {
        if !body.is_empty() {
            body.extend_from_slice(b"\n");
        }
        for (name, value) in query.headers.iter().filter(|(name, _)| *name != GATEWAY_TOKEN) {
            body.extend_from_slice(name.as_bytes());
            body.extend_from_slice(b": ");
            body.extend_from_slice(value);
            body.extend_from_slice(b"\n");
        }
    }
    body.pop();
    Query { path: "/v1/leases", headers, body, milliseconds }
}

/// The answers in an answer to `join`'s query; none if that is not understood.
#[must_use]
pub fn split(answer: &Answer) -> Vec<Answer> {
    let text = std::str::from_utf8(&answer.body).ok().filter(|_| answer.status == 200);
    text.map_or_else(Vec::new, |text| text.split(BETWEEN).map(read_part).collect())
}

fn read_part(text: &str) -> Answer {
    let mut lines = text.split('\n');
    let status = lines.next().and_then(|line| line.parse().ok()).unwrap_or_default();
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
    Answer { status, headers: headers.collect(), body: vec![] }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Answer, Calls, GATEWAY_TOKEN, GATHER_MILLISECONDS, Query, Receiver, Renewal, TOGETHER, WAITING_LIMIT};
    use crate::renewals::{ChangesTicket, Ticket};

    const NOW: i64 = 1_795_843_628_123;

    fn query(path: &'static str, key: &str) -> Query {
        let headers =
            vec![("authorization", key.into()), (GATEWAY_TOKEN, b"secret".to_vec()), ("x-arks-model", b"m".to_vec())];
        Query { path, headers, body: vec![], milliseconds: 2000 }
    }

    fn lease(key: &str) -> Renewal {
        Renewal { query: query("/v1/admit", key), receiver: Receiver::Lease(Arc::new(Ticket::new(NOW, 0))) }
    }

    fn changes() -> Renewal {
        let receiver = Receiver::Changes(Arc::new(ChangesTicket::new(NOW)));
        Renewal { query: query("/v1/changes", "-"), receiver }
    }

    fn sent(calls: &mut Calls, callout: u64, now: i64) -> Option<(&'static str, String, usize)> {
        let (query, receivers) = calls.next(now)?;
        let count = receivers.len();
        calls.begun(callout, receivers);
        Some((query.path, String::from_utf8(query.body).expect("text"), count))
    }

    #[test]
    fn a_renewal_alone_is_a_call_of_admission_at_once() {
        let mut calls = Calls::default();
        assert!(calls.add(lease("one")).is_none());
        assert_eq!(sent(&mut calls, 1, NOW), Some(("/v1/admit", String::new(), 1)));
        assert_eq!(sent(&mut calls, 2, NOW), None);
    }

    #[test]
    fn renewals_that_come_during_a_call_are_the_next_call() {
        let mut calls = Calls::default();
        calls.add(lease("one"));
        sent(&mut calls, 1, NOW);
        calls.add(lease("two"));
        calls.add(lease("three"));
        assert_eq!(sent(&mut calls, 2, NOW + 1), None);
        let answers = calls.answered(1, Answer { status: 200, ..Answer::default() });
        assert_eq!(answers.iter().map(|(_, answer)| answer.status).collect::<Vec<_>>(), [200]);
        let (query, receivers) = calls.next(NOW + 2).expect("a call");
        assert_eq!((query.path, receivers.len()), ("/v1/leases", 2));
        assert_eq!(query.headers, [(GATEWAY_TOKEN, b"secret".to_vec())]);
        let body = "authorization: two\nx-arks-model: m\n\nauthorization: three\nx-arks-model: m";
        assert_eq!(query.body, body.as_bytes());
    }

    #[test]
    fn each_renewal_gets_its_answer() {
        let mut calls = Calls::default();
        for key in ["one", "two", "three"] {
            calls.add(lease(key));
        }
        assert_eq!(sent(&mut calls, 1, NOW).map(|(path, _, count)| (path, count)), Some(("/v1/leases", 3)));
        let body = b"200\nx-arks-grant: a/b\nx-arks-lease: 1,2\n\n429\n\n200\nx-arks-grant: c".to_vec();
        let answers = calls.answered(1, Answer { status: 200, headers: vec![], body });
        let found: Vec<_> = answers.iter().map(|(_, answer)| (answer.status, answer.header("x-arks-grant"))).collect();
        assert_eq!(found, [(200, Some(&b"a/b"[..])), (429, None), (200, Some(&b"c"[..]))]);
    }

    #[test]
    fn without_an_answer_that_is_understood_no_renewal_has_any() {
        for (status, body) in [(404, "200\nx-arks-grant: a"), (0, ""), (200, "\u{fffd}")] {
            let mut calls = Calls::default();
            for key in ["one", "two"] {
                calls.add(lease(key));
            }
            sent(&mut calls, 1, NOW);
            let answers = calls.answered(1, Answer { status, headers: vec![], body: body.into() });
            assert_eq!(answers.iter().map(|(_, answer)| answer.status).collect::<Vec<_>>(), [0, 0]);
        }
    }

    #[test]
    fn a_slow_call_and_one_that_is_full_hold_back_no_other() {
        let mut calls = Calls::default();
        calls.add(lease("one"));
        sent(&mut calls, 1, NOW);
        calls.add(lease("two"));
        assert_eq!(sent(&mut calls, 2, NOW + GATHER_MILLISECONDS - 1), None);
        assert!(sent(&mut calls, 2, NOW + GATHER_MILLISECONDS).is_some());
        for _ in 0..=TOGETHER {
            calls.add(lease("more"));
        }
        assert_eq!(sent(&mut calls, 3, NOW + GATHER_MILLISECONDS).map(|(_, _, count)| count), Some(TOGETHER));
        assert_eq!(sent(&mut calls, 4, NOW + GATHER_MILLISECONDS), None);
    }

    #[test]
    fn a_query_of_changes_waits_for_no_call() {
        let mut calls = Calls::default();
        calls.add(lease("one"));
        sent(&mut calls, 1, NOW);
        calls.add(lease("two"));
        calls.add(changes());
        assert_eq!(sent(&mut calls, 2, NOW), Some(("/v1/changes", String::new(), 1)));
        calls.answered(2, Answer::default());
        assert_eq!(sent(&mut calls, 3, NOW), None);
    }

    #[test]
    fn more_renewals_than_may_wait_are_given_back() {
        let mut calls = Calls::default();
        assert!((0..WAITING_LIMIT).all(|_| calls.add(lease("one")).is_none()));
        assert!(calls.add(lease("one")).is_some());
        assert!(calls.add(changes()).is_none());
    }
}
