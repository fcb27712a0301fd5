//! Which part of an application's traffic each group of its replicas gets.
//!
//! Shares follow capacity, so that requests wait least (`division`); they do not follow load, so nothing that a replica
//! reports about its present load attracts traffic: a broken page that shows an idle engine cannot. Load counts twice
//! only, and both times it takes away: a queue sends new work elsewhere at the next report (`relief`), and a full KV cache
//! lowers the capacity.

use crate::division::{self, PROBE_PART, divide};
use crate::groups::{Contender, Group};
use crate::relief::{Part, relieve};
use crate::signals::Signals;

/// A smaller relative change of all shares is not pushed to Envoy.
const LEAST_CHANGE: f64 = 0.1;
/// The least share, as a part of its proportion, of a group that was faster before: its recovery shows in seconds.
const FALLEN_PROBE_PART: f64 = 0.3;
/// Above this KV-cache use engines begin to preempt requests; at 1 the capacity is halved.
const KV_FULL: f64 = 0.9;

/// A group with the signals of its members that are without doubt.
struct Known<'a> {
    group: &'a Group,
    signals: Vec<&'a Signals>,
    fallen: bool,
}

impl<'a> Known<'a> {
    fn new(group: &'a Group, contenders: &[Contender<'a>]) -> Self {
        let members = || group.members.iter().map(|number| &contenders[*number]);
        Self {
            group,
            signals: members().filter_map(Contender::known).collect(),
            fallen: members().any(|member| member.signals.is_some_and(|signals| signals.counted.has_fallen())),
        }
    }

    /// Return the slots of one member.
    fn slots(&self) -> f64 {
        self.group.slots / self.group.members.len() as f64
    }

    /// Return the sum over the signals.
    fn sum(&self, of: impl Fn(&Signals) -> f64) -> f64 {
        self.signals.iter().map(|signals| of(signals)).sum()
    }

    fn capacity(&self) -> division::Capacity {
        division::Capacity {
            slots: self.group.slots,
            speed: self.group.speed * self.kv_factor(),
            probe: if self.fallen { FALLEN_PROBE_PART } else { PROBE_PART },
        }
    }

    /// Return 1, or less if the KV caches of the group are nearly full on average.
    fn kv_factor(&self) -> f64 {
        let used = self.sum(|signals| signals.reading.kv_usage.unwrap_or(0.0).min(1.0));
        let over = if self.signals.is_empty() { 0.0 } else { used / self.signals.len() as f64 - KV_FULL };
        if over <= 0.0 { 1.0 } else { 1.0 - 0.5 * over / (1.0 - KV_FULL) }
    }

    /// Return the slots without a request. A replica that never made a request wait has room for more than it showed.
    fn free(&self) -> f64 {
        let slots = self.slots();
        self.sum(|signals| (slots - signals.reading.in_flight()).max(0.0))
    }
}

/// Return the share of each group that follows from the newest reports.
#[must_use]
pub fn wanted_shares(groups: &[Group], contenders: &[Contender<'_>]) -> Vec<f64> {
    if groups.len() == 1 {
        return vec![1.0];
    }
    let known: Vec<Known<'_>> = groups.iter().map(|group| Known::new(group, contenders)).collect();
    let capacities: Vec<_> = known.iter().map(Known::capacity).collect();
    // Where slots are not known, their number is what has been seen in use, of which all are in use while load grows.
    let limited = groups.iter().all(|group| group.limited);
    let used = |signals: &Signals, _| if limited { signals.rising_in_flight() } else { signals.mean_in_flight };
    let divided = divide(&capacities, part_of_capacity(&known, used));
    let whole: f64 = capacities.iter().map(division::Capacity::total).sum();
    let parts: Vec<Part> = divided
        .into_iter()
        .zip(known.iter().zip(&capacities))
        .map(|(share, (each, capacity))| Part {
            share,
            proportion: capacity.total() / whole,
            waiting: each.sum(|signals| signals.reading.waiting.unwrap_or(0.0)),
            free: each.free(),
        })
        .collect();
    let in_slots = |signals: &Signals, slots| signals.mean_in_flight.min(slots);
    relieve(&parts, part_of_capacity(&known, in_slots), arrivals(&known))
}

/// Return a part of the capacity of the replicas whose load is known; 1 if it is known of none.
///
/// `used`: slots of a replica that count as used, of its signals and slots.
fn part_of_capacity(known: &[Known<'_>], used: impl Fn(&Signals, f64) -> f64) -> f64 {
    let (mut load, mut capacity) = (0.0, 0.0);
    for each in known {
        let (slots, speed) = (each.slots(), each.group.speed);
        load += each.sum(|signals| used(signals, slots)) * speed;
        capacity += each.signals.len() as f64 * slots * speed;
    }
    if capacity > 0.0 { load / capacity } else { 1.0 }
}

/// Return requests a second; where they are unknown, as many as are in flight: as if each took a second.
fn arrivals(known: &[Known<'_>]) -> f64 {
    let of_one = |signals: &Signals| signals.arrivals.unwrap_or_else(|| signals.reading.in_flight());
    known.iter().map(|each| each.sum(of_one)).sum()
}

/// Return the shares of the last decision if they are nearly right for the same groups, else the wanted ones.
#[must_use]
pub fn steady_shares(groups: &[Group], wanted: &[f64], contenders: &[Contender<'_>]) -> Vec<f64> {
    let before: Option<Vec<f64>> = groups.iter().map(|group| share_before(group, contenders)).collect();
    let is_near = |before: &Vec<f64>| {
        (before.iter().sum::<f64>() - 1.0).abs() <= 1e-6
            && wanted.iter().zip(before).all(|(new, old)| *old > 0.0 && (new / old - 1.0).abs() <= LEAST_CHANGE)
    };
    before.filter(is_near).unwrap_or_else(|| wanted.to_vec())
}

/// Return the share that exactly these members had as this group; `None` if the group has changed.
fn share_before(group: &Group, contenders: &[Contender<'_>]) -> Option<f64> {
    let members = group.members.iter().map(|number| &contenders[*number]);
    members.map(|member| member.share.filter(|_| member.group == Some(&group.name))).sum()
}
