//! What follows from the readings of one replica: speed, slots, requests in flight.
//!
//! Work is tokens a second, which need the fewest requests to be measured, or finished requests a second (an engine that
//! embeds generates no tokens). It comes from counters where reports have them. Reports without counters have rates:
//! tokens are counted over all time, the drain rate over busy time only, and it keeps its value while the replica is
//! idle; each is divided by the requests in flight over the same time.

use crate::approach;
use crate::reading::{Doubt, Reading};
use crate::slots::ObservedSlots;
use crate::speed::{Sample, Speed, Work};

/// Clocks of one cluster differ by less; a reading from further in the future is rejected.
const FUTURE_SECONDS: f64 = 2.0;
/// Queues come and go within seconds, and Envoy observes that itself; only a queue that stays should count here.
const QUEUE_SECONDS: f64 = 10.0;
/// A replica's speed counts after this much busy time.
pub const WARM_UP_SECONDS: f64 = 10.0;
/// A longer gap between readings counts as this much time.
const LONGEST_STEP_SECONDS: f64 = 1.0;
/// Requests in flight are a mean over about this time: the load that shares are made for.
const IN_FLIGHT_SECONDS: f64 = 2.0;
/// Requests run and nothing has changed on the engine's page for this long: its numbers are not taken as the present.
const FROZEN_SECONDS: f64 = 5.0;
/// Fewer requests in flight can stand still for seconds on a healthy engine.
const LEAST_FROZEN_REQUESTS: f64 = 2.0;
/// Engines that count work when a request ends are silent until then; after this time it is not counted any more.
const LONGEST_REQUEST_SECONDS: f64 = 60.0;
/// No engine generates more.
const MOST_TOKENS_PER_SECOND: f64 = 1e6;
/// After so long without work, means of the load have no more effect.
const QUIET_SECONDS: f64 = QUEUE_SECONDS;
/// Replicas without work are reported more often.
const LONGEST_REST_SECONDS: f64 = 2.5;
/// After this much idle time, earlier measurements no longer count.
pub const FORGET_SECONDS: f64 = 600.0;

/// Unit of work. Speeds compare only in the same unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Generated tokens.
    Tokens,
    /// Finished requests.
    Requests,
}

/// The age in seconds from which readings cannot be used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Staleness {
    /// Of a replica with work.
    pub working: f64,
    /// Of one without.
    pub idle: f64,
}

/// The newest reading of a replica, and what follows from it and the earlier ones.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Signals {
    /// The newest one, plausible or not.
    pub reading: Reading,
    /// Time of the newest plausible reading.
    pub updated_at: Option<f64>,
    /// Time of the newest reading that differed from the one before it.
    pub changed_at: f64,
    /// When the replica last had work.
    pub busy_at: f64,
    /// How long it has had work.
    pub busy_seconds: f64,
    /// Mean length of the queue over the last seconds (`QUEUE_SECONDS`).
    pub mean_waiting: f64,
    /// Mean of running and waiting requests over `IN_FLIGHT_SECONDS`.
    pub mean_in_flight: f64,
    /// Requests that arrived in a second, a mean over about `IN_FLIGHT_SECONDS`; `None` until two readings have come.
    pub arrivals: Option<f64>,
    /// From rates, as is `requests`.
    pub tokens: Work,
    /// Finished requests.
    pub requests: Work,
    /// From counters.
    pub counted: Speed,
    /// Work, or rather time, since a counter moved.
    pub pending: Sample,
    /// Slots as running and waiting requests show them.
    pub observed_slots: ObservedSlots,
}

impl Signals {
    /// Return the signals after one more reading; `before`: those before it, if there are any.
    ///
    /// An implausible reading changes no mean, and is kept as the newest so that it can be explained.
    #[must_use]
    pub fn after(before: Option<&Self>, reading: Reading) -> Self {
        let mut signals = before.cloned().unwrap_or_else(|| Self { reading: reading.clone(), ..Self::default() });
        if reading.problem.is_empty() && reading.implausible().is_none() {
            signals.add(&reading);
        }
        signals.reading = reading;
        signals
    }

    /// Add a plausible reading to all means.
    fn add(&mut self, reading: &Reading) {
        let (at, running, waiting) = (reading.measured_at, reading.working(), reading.waiting.unwrap_or(0.0));
        let gap = self.updated_at.map_or(0.0, |updated_at| (at - updated_at).max(0.0));
        let elapsed = gap.min(LONGEST_STEP_SECONDS);
        if at - self.busy_at > FORGET_SECONDS {
            *self = Self { reading: reading.clone(), mean_waiting: waiting, ..Self::default() };
        }
        if let Some(rate) = reading.token_rate {
            self.tokens.add(rate * elapsed, running * elapsed, elapsed);
        }
        if let Some(rate) = reading.drain_rate.filter(|_| running > 0.0) {
            self.requests.add(rate * elapsed, running * elapsed, elapsed);
        }
        let finished = growth(self.reading.finished_total, reading.finished_total);
        self.count(reading, gap, finished);
        self.add_arrivals(reading, gap, finished);
        if self.updated_at.is_none() || reading.numbers() != self.reading.numbers() {
            self.changed_at = at;
        }
        if running > 0.0 {
            self.busy_at = at;
            self.busy_seconds += elapsed;
        }
        self.mean_waiting = approach(self.mean_waiting, waiting, elapsed, QUEUE_SECONDS);
        self.mean_in_flight = match self.updated_at {
            None => running + waiting,
            Some(_) => approach(self.mean_in_flight, running + waiting, elapsed, IN_FLIGHT_SECONDS),
        };
        self.observed_slots.add(running, waiting, elapsed);
        self.updated_at = Some(at);
    }

    /// Add what counters show. `finished`: growth of that counter.
    ///
    /// Time counts with the work that ends it, since some engines count a request's tokens when it ends.
    fn count(&mut self, reading: &Reading, gap: f64, finished: Option<f64>) {
        let pending = std::mem::take(&mut self.pending);
        let tokens = growth(self.reading.tokens_total, reading.tokens_total).unwrap_or(0.0);
        if tokens > MOST_TOKENS_PER_SECOND * gap {
            return; // a part of the engine has joined its page with a history of its own
        }
        let Some(finished) = finished.filter(|_| !reading.held && is_step(gap)) else { return };
        let running = f64::midpoint(self.reading.working(), reading.working());
        let sample = Sample {
            seconds: pending.seconds + gap,
            slot_seconds: pending.slot_seconds + running * gap,
            tokens,
            requests: finished,
        };
        if tokens > 0.0 || finished > 0.0 {
            self.counted.add(sample);
        } else if sample.seconds <= LONGEST_REQUEST_SECONDS && running > 0.0 {
            self.pending = sample;
        }
    }

    /// Add requests that arrived: those that ended, and those that are in flight besides.
    ///
    /// `ended`: by the counter; without it, those that ended are known from the drain rate, which is that of busy time.
    fn add_arrivals(&mut self, reading: &Reading, gap: f64, ended: Option<f64>) {
        if !is_step(gap) {
            return;
        }
        let drained =
            || if reading.running.unwrap_or(0.0) > 0.0 { reading.drain_rate.unwrap_or(0.0) * gap } else { 0.0 };
        let ended = ended.unwrap_or_else(drained);
        let rate = ((ended + reading.in_flight() - self.reading.in_flight()) / gap).max(0.0);
        self.arrivals = Some(self.arrivals.map_or(rate, |mean| approach(mean, rate, gap, IN_FLIGHT_SECONDS)));
    }

    /// Return the work that one slot completes in a second; `None` until enough work has been measured.
    #[must_use]
    pub fn speed(&self, unit: Unit) -> Option<f64> {
        let counted = self.counted.is_known();
        match unit {
            _ if !counted && self.busy_seconds < WARM_UP_SECONDS => None,
            Unit::Tokens if counted => self.counted.tokens_per_slot(),
            Unit::Requests if counted => self.counted.requests_per_slot(),
            Unit::Tokens => self.tokens.per_slot(),
            Unit::Requests => self.requests.per_slot(),
        }
    }

    /// Return the mean of requests in flight, or what is in flight now if that is more and the replica has just begun to
    /// work: a mean that begins without load stays behind it for seconds.
    #[must_use]
    pub fn rising_in_flight(&self) -> f64 {
        let begins = self.busy_seconds < IN_FLIGHT_SECONDS;
        if begins { self.mean_in_flight.max(self.reading.in_flight()) } else { self.mean_in_flight }
    }

    /// Return whether what was measured still counts: a replica's capacity is not gone with its last report.
    #[must_use]
    pub fn is_remembered(&self, now: f64) -> bool {
        self.updated_at.is_some_and(|updated_at| now - updated_at <= FORGET_SECONDS)
    }

    /// Return whether a reading shows only that the last one still holds: of a replica without work, now and for long.
    #[must_use]
    pub fn is_confirmed_by(&self, reading: &Reading) -> bool {
        let (last, at) = (&self.reading, reading.measured_at);
        let rests = self.busy_at <= 0.0 || (QUIET_SECONDS..=FORGET_SECONDS).contains(&(at - self.busy_at));
        rests
            && reading.is_idle()
            && self.updated_at == Some(last.measured_at)
            && (0.0..=LONGEST_REST_SECONDS).contains(&(at - last.measured_at))
            && *reading == Reading { measured_at: at, ..last.clone() }
    }

    /// Return why the newest reading cannot be used; `None` if it can.
    #[must_use]
    pub fn doubt(&self, now: f64, stale: Staleness) -> Option<Doubt> {
        let reading = &self.reading;
        if !reading.problem.is_empty() {
            return Some(Doubt::Problem(reading.problem.clone()));
        }
        if let Some(doubt) = reading.implausible() {
            return Some(doubt);
        }
        let age = now - reading.measured_at;
        if age > if reading.is_idle() { stale.idle } else { stale.working } {
            return Some(Doubt::Old(age));
        }
        if age < -FUTURE_SECONDS { Some(Doubt::Future(-age)) } else { self.frozen() }
    }

    /// Return for how long a page has stayed the same while requests run, if it cannot be used for that.
    ///
    /// Without counters a steady load looks the same, so only pages with counters are judged. A page with one running
    /// request may be that of an engine that counts when a request ends.
    #[must_use]
    pub fn frozen(&self) -> Option<Doubt> {
        let reading = &self.reading;
        let seconds = reading.measured_at - self.changed_at;
        let judged = reading.finished_total.is_some() && reading.in_flight() >= LEAST_FROZEN_REQUESTS;
        (judged && seconds >= FROZEN_SECONDS).then_some(Doubt::Frozen(seconds))
    }
}

/// What the last reading of a replica and the earlier ones show, for users.
#[cfg_attr(feature = "python", pyo3::pyclass(frozen, get_all, eq, module = "arks.endpoint_router.domain.native"))]
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// The newest one.
    pub reading: Reading,
    /// Requests.
    pub mean_waiting: f64,
    /// Requests.
    pub mean_in_flight: f64,
    /// Slots as requests that waited show them.
    pub full_at: Option<f64>,
    /// Tokens that a slot makes in a second.
    pub tokens_per_slot: Option<f64>,
    /// Requests that a slot completes in a second.
    pub requests_per_slot: Option<f64>,
}

impl From<&Signals> for Evidence {
    fn from(signals: &Signals) -> Self {
        Self {
            reading: signals.reading.clone(),
            mean_waiting: signals.mean_waiting,
            mean_in_flight: signals.mean_in_flight,
            full_at: signals.observed_slots.full_at,
            tokens_per_slot: signals.speed(Unit::Tokens),
            requests_per_slot: signals.speed(Unit::Requests),
        }
    }
}

/// Return whether readings with such a gap between them show what happened in it.
fn is_step(gap: f64) -> bool {
    gap > 0.0 && gap <= 2.0 * LONGEST_STEP_SECONDS
}

/// Return how much a counter grew; `None` if it is absent or fell, as after a restart of the engine.
fn growth(before: Option<f64>, after: Option<f64>) -> Option<f64> {
    Some(after? - before?).filter(|grown| *grown >= 0.0)
}

#[cfg(test)]
mod tests {
    use super::{LONGEST_REQUEST_SECONDS, Signals};
    use crate::reading::Reading;

    #[test]
    fn time_without_a_counted_request_counts_with_the_next_one_up_to_the_longest_request() {
        let at = |second: u32| {
            let measured_at = 100.0 + f64::from(second);
            Reading { measured_at, running: Some(1.0), finished_total: Some(7.0), ..Reading::default() }
        };
        let mut signals = Signals::after(None, at(0));
        let pending: Vec<f64> = (1..=62)
            .map(|second| {
                signals = Signals::after(Some(&signals), at(second));
                signals.pending.seconds
            })
            .collect();
        assert_eq!(pending[59..], [LONGEST_REQUEST_SECONDS, 0.0, 1.0]);
    }
}
