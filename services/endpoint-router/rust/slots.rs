//! Slots of a replica whose engine does not report them: requests that wait while r run show that there are r.

use crate::approach;

/// A queue counts from this part of the running requests on, and one request at least: engines admit between two steps,
/// so one of many may be waiting for a moment although a slot is free.
const QUEUE_PART: f64 = 0.125;
/// Slots that long requests occupy (a full KV cache) are fewer; the number follows within about this time.
const SHRINK_SECONDS: f64 = 20.0;

/// What running and waiting requests have shown of a replica's slots.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ObservedSlots {
    /// The most requests that were seen running at once: there are at least as many slots.
    pub most_running: f64,
    /// Requests that ran while others waited; `None` if none have waited yet.
    pub full_at: Option<f64>,
}

impl ObservedSlots {
    /// Add a reading that came `elapsed` seconds after the one before.
    pub fn add(&mut self, running: f64, waiting: f64, elapsed: f64) {
        if running == 0.0 {
            return;
        }
        self.most_running = self.most_running.max(running);
        self.full_at = match self.full_at {
            found if waiting < 1.0 || waiting < QUEUE_PART * running => found.map(|slots| slots.max(running)),
            None => Some(self.most_running),
            Some(slots) if running >= slots => Some(running),
            Some(slots) => Some(approach(slots, running, elapsed, SHRINK_SECONDS)),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::ObservedSlots;

    fn seen(readings: &[(f64, f64)]) -> Option<f64> {
        let mut slots = ObservedSlots::default();
        for (running, waiting) in readings {
            slots.add(*running, *waiting, 0.2);
        }
        slots.full_at
    }

    #[test]
    fn requests_that_wait_show_the_slots_and_more_running_requests_correct_them() {
        assert_eq!(seen(&[(4.0, 0.0), (4.0, 3.0)]), Some(4.0));
        assert_eq!(seen(&[(4.0, 0.0), (4.0, 3.0), (6.0, 0.0)]), Some(6.0));
    }

    #[test]
    fn a_request_that_waits_for_a_moment_shows_nothing() {
        assert_eq!(seen(&[(16.0, 1.0)]), None);
    }

    #[test]
    fn slots_that_long_requests_occupy_are_fewer_after_some_time() {
        let mut readings = vec![(16.0, 8.0)];
        readings.extend([(8.0, 8.0); 500]);
        assert!(seen(&readings).is_some_and(|slots| slots < 9.0));
    }
}
