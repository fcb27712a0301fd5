//! Move new requests away from queues, at the next load report.
//!
//! Shares by capacity (`division`) are right on average. A burst, a request of unusual length or a wrong first guess
//! makes a queue nevertheless, and at high utilisation a queue lasts: what flows in by capacity is nearly what flows out.
//! So for the next second the arrivals themselves are planned: each group passes on as many requests as wait at it, first
//! to groups with free slots, at most what these can work on. What remains is spread so that all groups need the same
//! time for their queues, which makes the longest wait shortest.
//!
//! The correction is in requests, not a factor: a request that waits at a group of 2 slots moves one request in the next
//! second and not the group's whole share. A loop of this kind is stable while the delay from a change of shares to its
//! report is well below `HORIZON_SECONDS`.

/// Queues are worked off by arrivals of this time: about three times the delay of a report and of Envoy's update.
const HORIZON_SECONDS: f64 = 1.0;
/// What is left of a group's share at least: a ready replica always gets some traffic.
const QUEUED_SHARE: f64 = 1e-3;
/// A group takes over requests of others until it is used to this part.
const FULL_PART: f64 = 0.95;
const LEAST_UTILISATION: f64 = 0.01;

/// One group as relief needs it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Part {
    /// By capacity, 0 to 1.
    pub share: f64,
    /// Of the capacity of all groups, 0 to 1.
    pub proportion: f64,
    /// Requests.
    pub waiting: f64,
    /// Slots without a request, at replicas whose readings are not in doubt.
    pub free: f64,
}

impl Part {
    /// Return how many requests a group without a queue can take over in the next second.
    fn room(&self, utilisation: f64, expected: f64) -> f64 {
        if self.waiting > 0.0 {
            return 0.0;
        }
        let capacity = FULL_PART * self.proportion / utilisation.max(LEAST_UTILISATION);
        self.free.min((capacity - self.share).max(0.0) * expected)
    }
}

/// Return the shares for the next second; they add up to 1.
///
/// `utilisation`: used slots as a part of all, by speed; `arrivals`: requests a second at all groups.
#[must_use]
pub fn relieve(parts: &[Part], utilisation: f64, arrivals: f64) -> Vec<f64> {
    let queued: f64 = parts.iter().map(|part| part.waiting).sum();
    if queued <= 0.0 {
        return parts.iter().map(|part| part.share).collect();
    }
    let expected = (arrivals * HORIZON_SECONDS).max(1.0);
    let room: Vec<f64> = parts.iter().map(|part| part.room(utilisation, expected)).collect();
    let filled = (room.iter().sum::<f64>() / queued).min(1.0);
    // What still waits then at each group, beyond its part of all that still waits; below 0: less.
    let excess: Vec<f64> =
        parts.iter().map(|part| (1.0 - filled) * (part.waiting - part.proportion * queued)).collect();
    let wanted = parts.iter().zip(&excess).map(|(part, over)| filled * part.waiting + over.max(0.0));
    let passed: Vec<f64> =
        wanted.zip(parts).map(|(amount, part)| amount.min((1.0 - QUEUED_SHARE) * part.share * expected)).collect();
    let less: Vec<f64> = excess.iter().map(|over| (-over).max(0.0)).collect();
    let amount: f64 = passed.iter().sum();
    let (into_slots, moved) = spread(amount, &room);
    let (into_queues, _) = spread(amount - moved, &less);
    (0..parts.len())
        .map(|number| parts[number].share + (into_slots[number] + into_queues[number] - passed[number]) / expected)
        .collect()
}

/// Return the amount, or as much of it as the limits allow, divided in their proportion; and the sum.
fn spread(amount: f64, limits: &[f64]) -> (Vec<f64>, f64) {
    let total: f64 = limits.iter().sum();
    let part = if total > 0.0 { (amount / total).min(1.0) } else { 0.0 };
    (limits.iter().map(|limit| limit * part).collect(), total * part)
}
