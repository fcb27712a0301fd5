//! How fast a slot of a replica works, and when that has changed.
//!
//! Speed: by Little's law, the work that a replica completes in a second, divided by its requests in flight, is the work
//! that one slot completes in a second. Unlike the drain rate itself it does not grow with the traffic that the replica
//! is given, so a replica with little traffic does not look slow and stay that way.
//!
//! A mean over half a minute is steady enough to compare replicas, and far too slow to notice that one of them now needs
//! four times as long. So the last work is also kept, and replaces the mean if it differs by more than chance explains.
//! There are two such tests:
//!
//! - Of readings: each has the work of a fraction of a second, and it is known how much they usually differ (`usual`).
//!   An engine that counts tokens as it makes them gives nearly the same pace in every reading, however long its
//!   requests are: two readings in a row show a change. Where each reading differs (long prompts between short ones, an
//!   engine that counts when a request ends) this test finds nothing.
//! - Of requests: batches of a few, 24 requests in all. It needs no regular readings, but as long as these requests
//!   take.

use crate::usual::Usual;

/// Requests differ in length, so rates are noisy: speed is a mean over about this time.
pub const SMOOTHING_SECONDS: f64 = 30.0;
/// Requests in a batch. A replica with its earlier speed again is recognised by one: that speed is not a guess.
const BATCH_REQUESTS: f64 = 4.0;
/// Tokens, or requests without tokens, in two readings that show the earlier speed; `BATCHES` times as many for another
/// one. Below it a reading is one token more or less.
const LEAST_WORK: f64 = 4.0;
/// Batches that show a new speed. Where requests have exponential lengths, chance alone makes 24 requests differ from the
/// mean by `CHANGE_FACTOR` once in some thousand times.
const BATCHES: usize = 6;
/// A batch this many times faster or slower than the mean is a change and not noise.
const CHANGE_FACTOR: f64 = 2.5;
/// A speed that was measured over fewer requests than this is a step on the way to another one.
const SETTLED_REQUESTS: f64 = 100.0;
/// A batch within this factor of the earlier speed is a return to it.
const RETURN_FACTOR: f64 = 1.5;
/// A speed is known after this many finished requests.
const LEAST_REQUESTS: f64 = 4.0;
/// Or after this many readings with tokens of requests that run: a slow replica is measured before its first requests end.
const LEAST_STREAMED: u32 = 2;
/// With fewer requests in flight on average, the quotient is meaningless.
const LEAST_RUNNING: f64 = 0.02;

/// An amount of work and the slot-seconds that it took. Both fade at the same rate, so their quotient is a mean.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Work {
    /// Time that counts.
    pub seconds: f64,
    /// Requests in flight, integrated over that time.
    pub slot_seconds: f64,
    /// Tokens or requests.
    pub amount: f64,
}

impl Work {
    /// Add work of the last seconds; what was before fades.
    pub fn add(&mut self, amount: f64, slot_seconds: f64, seconds: f64) {
        let kept = (-seconds / SMOOTHING_SECONDS).exp();
        self.seconds = kept * self.seconds + seconds;
        self.slot_seconds = kept * self.slot_seconds + slot_seconds;
        self.amount = kept * self.amount + amount;
    }

    /// Return the work that one slot completes in a second; `None` if unknown.
    #[must_use]
    pub fn per_slot(&self) -> Option<f64> {
        per_slot(self.amount, self.slot_seconds, self.seconds)
    }
}

/// Work between two readings.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sample {
    /// Between the two.
    pub seconds: f64,
    /// Requests in flight, integrated over that time.
    pub slot_seconds: f64,
    /// Generated.
    pub tokens: f64,
    /// Finished.
    pub requests: f64,
}

impl Sample {
    fn plus(self, other: Self) -> Self {
        self.faded(1.0, other)
    }

    /// Return the sum, of which this one has faded.
    fn faded(self, kept: f64, other: Self) -> Self {
        Self {
            seconds: kept * self.seconds + other.seconds,
            slot_seconds: kept * self.slot_seconds + other.slot_seconds,
            tokens: kept * self.tokens + other.tokens,
            requests: kept * self.requests + other.requests,
        }
    }
}

/// The last work in batches of a few requests, the oldest first. The last one still grows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Batches {
    samples: [Sample; BATCHES + 1],
    count: usize,
}

impl Batches {
    fn all(&self) -> &[Sample] {
        &self.samples[..self.count]
    }

    /// Add work to the last batch, or as a new one if that one is full.
    fn add(&mut self, sample: Sample, is_full: impl Fn(&Sample) -> bool) {
        match self.samples[..self.count].last_mut() {
            Some(growing) if !is_full(growing) => *growing = growing.plus(sample),
            _ => {
                if self.count == self.samples.len() {
                    self.samples.rotate_left(1);
                    self.count -= 1;
                }
                self.samples[self.count] = sample;
                self.count += 1;
            }
        }
    }
}

/// The speed of one replica from its counters.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Speed {
    /// Requests since the measurement began.
    finished: f64,
    /// Readings in which tokens grew, from the first one on in which no request ended: it shows that the engine counts
    /// tokens as they are made.
    streamed: u32,
    /// Work of about `SMOOTHING_SECONDS`. All of it fades at the same rate, so that quotients are means.
    mean: Sample,
    batches: Batches,
    /// Work of a slot in a second before the last change, in the unit of `pace`.
    earlier: Option<f64>,
    /// The work of the last reading.
    last: Sample,
    usual: Usual,
}

impl Speed {
    /// Return whether enough work has been measured.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.finished >= LEAST_REQUESTS || self.streamed >= LEAST_STREAMED
    }

    /// Return the tokens that one slot makes in a second; `None` if unknown.
    #[must_use]
    pub fn tokens_per_slot(&self) -> Option<f64> {
        per_slot(self.mean.tokens, self.mean.slot_seconds, self.mean.seconds)
    }

    /// Return the requests that one slot completes in a second; `None` if unknown.
    #[must_use]
    pub fn requests_per_slot(&self) -> Option<f64> {
        per_slot(self.mean.requests, self.mean.slot_seconds, self.mean.seconds)
    }

    /// Return whether it was much faster before its last change, and may be again.
    #[must_use]
    pub fn has_fallen(&self) -> bool {
        matches!((self.earlier, self.pace()), (Some(earlier), Some(pace)) if pace * RETURN_FACTOR < earlier)
    }

    /// Add the work between two readings.
    pub fn add(&mut self, sample: Sample) {
        let Some(before) = self.pace().filter(|_| sample.slot_seconds > 0.0 && self.is_known()) else {
            self.add_to_mean(sample);
            return;
        };
        let amount = self.amount(&sample);
        let difference = difference(amount / sample.slot_seconds, before);
        let mut batches = self.batches;
        batches.add(sample, |growing| self.size(self.amount(growing), growing.slot_seconds, before) >= BATCH_REQUESTS);
        if let Some(recent) = self.change(before, sample, difference, &batches) {
            self.restart(recent, before);
            return;
        }
        self.batches = batches;
        self.last = sample;
        let work = amount.max(before * sample.slot_seconds); // what was done, or would have been at the speed before
        self.usual.add(difference, 2.0 * work >= BATCHES as f64 * LEAST_WORK);
        self.add_to_mean(sample);
    }

    fn add_to_mean(&mut self, sample: Sample) {
        self.mean = self.mean.faded((-sample.seconds / SMOOTHING_SECONDS).exp(), sample);
        self.finished += sample.requests;
        if sample.tokens > 0.0 && (sample.requests == 0.0 || self.streamed > 0) {
            self.streamed = self.streamed.saturating_add(1);
        }
    }

    /// Begin the measurement anew with the work that showed another speed.
    fn restart(&mut self, recent: Sample, before: f64) {
        let settled = self.finished >= SETTLED_REQUESTS || self.earlier.is_none();
        *self = Self {
            finished: LEAST_REQUESTS,
            mean: recent,
            earlier: if settled { Some(before) } else { self.earlier },
            last: recent,
            usual: Usual { last: 0.0, ..self.usual },
            ..Self::default()
        };
    }

    /// Return the work that shows another speed; `None` if nothing does.
    fn change(&self, before: f64, sample: Sample, difference: f64, batches: &Batches) -> Option<Sample> {
        if let Some(changed) = self.changed_batches(before, batches.all()) {
            return Some(changed);
        }
        if !self.usual.is_exceeded(difference, CHANGE_FACTOR.ln()) {
            return None;
        }
        let done = self.amount(&self.last) + self.amount(&sample);
        let work = done.max(before * (self.last.slot_seconds + sample.slot_seconds));
        let least = LEAST_WORK * if self.has_returned(before * difference.exp()) { 1.0 } else { BATCHES as f64 };
        (work >= least).then_some(sample)
    }

    /// Return the newest batches whose pace is another one, if they are enough to show it.
    fn changed_batches(&self, before: f64, batches: &[Sample]) -> Option<Sample> {
        let mut sum = Sample::default();
        for batch in batches.iter().rev() {
            sum = batch.plus(sum);
            let amount = self.amount(&sum);
            let pace = amount / sum.slot_seconds;
            let same = before / CHANGE_FACTOR < pace && pace < before * CHANGE_FACTOR;
            if !same && self.suffices(pace, amount, sum.slot_seconds, before) {
                return Some(sum);
            }
        }
        None
    }

    fn has_returned(&self, pace: f64) -> bool {
        self.earlier.is_some_and(|earlier| earlier / RETURN_FACTOR < pace && pace < earlier * RETURN_FACTOR)
    }

    /// Return whether this work is enough to show that the speed has become `pace`.
    fn suffices(&self, pace: f64, amount: f64, slot_seconds: f64, before: f64) -> bool {
        let batches = if self.has_returned(pace) { 1.0 } else { BATCHES as f64 };
        self.size(amount, slot_seconds, before) >= batches * BATCH_REQUESTS
    }

    /// Return the requests of this work: those it has, or those it would have at the speed before.
    fn size(&self, amount: f64, slot_seconds: f64, before: f64) -> f64 {
        let work = amount.max(before * slot_seconds);
        if self.mean.tokens > 0.0 { work * self.mean.requests / self.mean.tokens } else { work }
    }

    fn pace(&self) -> Option<f64> {
        if self.mean.tokens > 0.0 { self.tokens_per_slot() } else { self.requests_per_slot() }
    }

    fn amount(&self, work: &Sample) -> f64 {
        if self.mean.tokens > 0.0 { work.tokens } else { work.requests }
    }
}

fn per_slot(amount: f64, slot_seconds: f64, seconds: f64) -> Option<f64> {
    let measured = slot_seconds >= LEAST_RUNNING * seconds && slot_seconds > 0.0;
    Some(amount / slot_seconds).filter(|speed| measured && *speed > 0.0) // a tiny quotient is 0 too
}

/// Return the logarithm of the quotient; no work at all counts as a hundredth.
fn difference(pace: f64, before: f64) -> f64 {
    (pace / before).max(0.01).ln()
}

#[cfg(test)]
mod tests {
    use super::{Sample, Speed, Work};

    const STEP_SECONDS: f64 = 0.2;

    /// Work in which each slot finishes `pace` requests of so many tokens a second.
    #[derive(Clone, Copy)]
    struct Load {
        slots: f64,
        tokens: f64,
    }

    const SHORT: Load = Load { slots: 16.0, tokens: 16.0 };
    const LONG: Load = Load { slots: 10.0, tokens: 160.0 };

    impl Load {
        fn sample(self, pace: f64) -> Sample {
            let requests = self.slots * STEP_SECONDS * pace;
            let tokens = self.tokens * requests;
            Sample { seconds: STEP_SECONDS, slot_seconds: self.slots * STEP_SECONDS, tokens, requests }
        }

        /// Return the speed after so many readings of this work.
        fn after(self, mut speed: Speed, readings: usize, pace: f64) -> Speed {
            (0..readings).for_each(|_| speed.add(self.sample(pace)));
            speed
        }
    }

    fn near(value: Option<f64>, wanted: f64, part: f64) -> bool {
        value.is_some_and(|value| (value / wanted - 1.0).abs() <= part)
    }

    #[test]
    fn speed_is_known_after_a_few_requests() {
        assert!(!SHORT.after(Speed::default(), 1, 1.0).is_known());
        assert!(near(SHORT.after(Speed::default(), 2, 1.0).tokens_per_slot(), 16.0, 1e-6));
    }

    #[test]
    fn speed_is_known_before_the_first_request_ends_where_tokens_are_counted_as_they_are_made() {
        let mut speed = Speed::default();
        let mut known = |requests| {
            speed.add(Sample { seconds: 0.2, slot_seconds: 0.8, tokens: 8.0, requests });
            speed.is_known()
        };
        assert!(!known(1.0), "tokens may be those of the request that ended");
        assert!(!known(0.0));
        assert!(known(1.0));
        assert!(near(speed.tokens_per_slot(), 10.0, 1e-6));
    }

    #[test]
    fn a_busy_replica_that_slows_down_four_times_is_noticed_within_two_readings() {
        let steady = SHORT.after(Speed::default(), 150, 5.7);
        assert!(near(SHORT.after(steady, 2, 5.7 / 4.0).requests_per_slot(), 5.7 / 4.0, 0.1));
    }

    #[test]
    fn long_requests_that_slow_down_four_times_are_noticed_in_two_readings_by_their_tokens() {
        let slowed = LONG.after(LONG.after(Speed::default(), 150, 0.25), 2, 0.0625);
        assert!(near(slowed.requests_per_slot(), 0.0625, 0.01));
        let recovered = LONG.after(LONG.after(slowed, 25, 0.0625), 2, 0.25);
        assert!(near(recovered.requests_per_slot(), 0.25, 0.01));
    }

    #[test]
    fn two_readings_show_another_speed_only_if_they_have_enough_work_together() {
        let after = |slots| {
            let steady = SHORT.after(Speed::default(), 150, 5.7);
            Load { slots, ..SHORT }.after(steady, 2, 5.7 / 4.0).earlier.is_some()
        };
        assert!(!after(0.5), "18 tokens at the speed before");
        assert!(after(1.0), "36");
    }

    #[test]
    fn the_earlier_speed_is_not_a_step_on_the_way_to_the_present_one() {
        let slowing = SHORT.after(SHORT.after(Speed::default(), 150, 5.7), 3, 1.4);
        let slow = SHORT.after(slowing, 50, 0.3);
        assert!(near(slow.requests_per_slot(), 0.3, 0.1));
        assert!(near(slow.earlier, 5.7 * 16.0, 0.05));
    }

    #[test]
    fn one_slow_reading_is_no_change() {
        let steady = LONG.after(Speed::default(), 150, 0.25);
        assert!(LONG.after(LONG.after(steady, 1, 0.01), 1, 0.25).earlier.is_none());
    }

    #[test]
    fn readings_that_always_differ_are_no_change() {
        let (mut speed, mut random) = (Speed::default(), fastrand::Rng::with_seed(1));
        for _ in 0..2_000 {
            speed = LONG.after(speed, 1, 0.25 * [0.2, 1.0, 3.0][random.usize(..3)]);
            assert!(speed.earlier.is_none());
        }
    }

    #[test]
    fn a_replica_with_little_traffic_that_has_its_earlier_speed_again_is_noticed_within_seconds() {
        let slowed = SHORT.after(SHORT.after(Speed::default(), 150, 5.7), 50, 5.7 / 4.0);
        let little = Load { slots: 0.2, ..SHORT };
        assert!(near(little.after(slowed, 20, 5.7).requests_per_slot(), 5.7, 0.1));
    }

    #[test]
    fn a_replica_that_slowed_down_counts_as_fallen_until_it_recovers() {
        let steady = SHORT.after(Speed::default(), 150, 5.7);
        let slowed = SHORT.after(steady.clone(), 5, 5.7 / 4.0);
        let recovered = SHORT.after(slowed.clone(), 10, 5.7);
        assert_eq!([steady, slowed, recovered].map(|speed| speed.has_fallen()), [false, true, false]);
    }

    #[test]
    fn requests_of_random_length_are_no_change() {
        let (mut speed, mut random) = (Speed::default(), fastrand::Rng::with_seed(1));
        for _ in 0..2_000 {
            let lengths: f64 = (0..3).map(|_| -(1.0 - random.f64()).ln()).sum();
            speed.add(Sample { seconds: lengths / 16.0, slot_seconds: lengths, tokens: 48.0, requests: 3.0 });
            assert!(speed.earlier.is_none());
        }
    }

    #[test]
    fn work_too_little_to_compare_is_no_speed() {
        assert_eq!(Work { seconds: 60.0, slot_seconds: 1e12, amount: 1e-313 }.per_slot(), None);
    }
}
