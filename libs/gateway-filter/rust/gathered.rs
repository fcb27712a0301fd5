//! Renewals of a busy worker wait for a moment, so that more of them go into one call. No request waits for them.

use crate::renewals::{Receiver, Renewal};

/// The longest wait. So a renewal is sent with the first request of the next such time, in milliseconds.
const SLOT_MILLISECONDS: i64 = 10;
/// A worker that had so many requests in the last slot will have one in the next slot too.
const BUSY_REQUESTS: u32 = 8;
/// So many do not wait for more.
const ENOUGH: usize = 32;
/// What waited longer, because no request came after all, is not sent.
const STALE_SLOTS: i64 = 100;

/// The renewals of a worker that are not sent yet.
#[derive(Default)]
pub struct Gathered {
    renewals: Vec<Renewal>,
    slot: i64,
    requests: u32,
    is_busy: bool,
    is_due: bool,
}

impl Gathered {
    /// Counts a request.
    pub fn count(&mut self, now: i64) {
        let slots = now / SLOT_MILLISECONDS - self.slot;
        if slots != 0 {
            self.is_busy = slots == 1 && self.requests >= BUSY_REQUESTS;
            self.is_due = true;
            self.requests = 0;
            self.slot += slots;
        }
        if slots > STALE_SLOTS {
            for renewal in self.renewals.drain(..) {
                renewal.receiver.fail();
            }
        }
        self.requests += 1;
    }

    /// Adds a renewal.
    pub fn add(&mut self, renewal: Renewal) {
        self.renewals.push(renewal);
    }

    /// Those that are to be sent now.
    pub fn take(&mut self) -> Vec<Renewal> {
        let waits = self.is_busy && !self.is_due && self.renewals.len() < ENOUGH;
        self.is_due = false;
        if waits && !self.renewals.iter().any(|renewal| matches!(renewal.receiver, Receiver::Changes(_))) {
            return Vec::new();
        }
        std::mem::take(&mut self.renewals)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{ENOUGH, Gathered, SLOT_MILLISECONDS, STALE_SLOTS};
    use crate::pending::Query;
    use crate::renewals::{ChangesTicket, Receiver, Renewal, Ticket};

    const NOW: i64 = 1_795_843_628_120;

    fn renewal(receiver: Receiver) -> Renewal {
        Renewal { query: Query { path: "/v1/admit", headers: vec![], body: vec![], milliseconds: 2000 }, receiver }
    }

    fn lease() -> Renewal {
        renewal(Receiver::Lease(Arc::new(Ticket::new(NOW, 0))))
    }

    fn busy() -> Gathered {
        let mut gathered = Gathered::default();
        (0..8).for_each(|_| gathered.count(NOW - SLOT_MILLISECONDS));
        gathered.count(NOW);
        assert!(gathered.take().is_empty());
        gathered
    }

    #[test]
    fn a_renewal_of_a_worker_with_few_requests_is_sent_at_once() {
        let mut gathered = Gathered::default();
        for at in 0..50 {
            gathered.count(NOW + 2 * at);
            gathered.add(lease());
            assert_eq!(gathered.take().len(), 1);
        }
    }

    #[test]
    fn renewals_of_a_busy_worker_are_sent_together_with_a_request_after_a_moment() {
        let mut gathered = busy();
        for _ in 0..8 {
            gathered.add(lease());
            gathered.count(NOW + SLOT_MILLISECONDS - 1);
            assert!(gathered.take().is_empty());
        }
        gathered.count(NOW + SLOT_MILLISECONDS);
        assert_eq!(gathered.take().len(), 8);
        gathered.add(lease());
        assert!(gathered.take().is_empty());
    }

    #[test]
    fn enough_renewals_wait_for_no_more_and_changes_for_nothing() {
        let mut gathered = busy();
        (0..ENOUGH - 1).for_each(|_| gathered.add(lease()));
        assert!(gathered.take().is_empty());
        gathered.add(lease());
        assert_eq!(gathered.take().len(), ENOUGH);
        gathered.add(renewal(Receiver::Changes(Arc::new(ChangesTicket::new(NOW)))));
        assert_eq!(gathered.take().len(), 1);
    }

    #[test]
    fn a_renewal_that_waited_in_vain_has_no_answer() {
        let mut gathered = busy();
        let ticket = Arc::new(Ticket::new(NOW, 0));
        gathered.add(renewal(Receiver::Lease(Arc::clone(&ticket))));
        gathered.count(NOW + (STALE_SLOTS + 1) * SLOT_MILLISECONDS);
        assert!(gathered.take().is_empty());
        assert!(ticket.is_answered());
    }
}
