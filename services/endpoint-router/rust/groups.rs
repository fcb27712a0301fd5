//! Group the replicas of one application that are alike: same slots, and speeds within a tolerance.
//!
//! A group is a locality in Envoy. Inside it all weights are equal, so Envoy sends each request to the replica with the
//! fewest in flight, counting its own requests at the moment it decides. With unequal weights it schedules replicas by
//! deadline instead, which knows nothing of queues.
//!
//! A replica that changes its group is a new host for Envoy: its connections are made again, and its requests in flight
//! count from 0. So the tolerance for parting is wider than that for joining.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::reading::Doubt;
use crate::signals::{Signals, Unit};

/// Replicas whose speeds are within this factor are alike.
const JOIN_FACTOR: f64 = 1.25;
/// Replicas that were alike stay so up to this factor, so that noise does not part and join them repeatedly.
const PART_FACTOR: f64 = 1.75;
/// Observed slots of a replica without a known speed count for this long after its last work.
const IDLE_SECONDS: f64 = 3.0;
/// Slots of replicas of which nothing is known: only the quotient counts.
const UNKNOWN_SLOTS: f64 = 1.0;
/// Requests that wait while fewer than this part of the configured slots are in use show that there are fewer.
const REFUTED_PART: f64 = 0.75;

/// A ready replica as it enters the comparison.
#[derive(Clone, Debug)]
pub struct Contender<'a> {
    /// With `restarts`, it identifies a run of a replica.
    pub name: &'a str,
    /// Of its engine.
    pub restarts: u32,
    /// From its configuration or its engine; 0 if unknown.
    pub slots: u32,
    /// What was measured of it and still counts.
    pub signals: Option<&'a Signals>,
    /// Why its newest reading cannot be used; `None` if it can. What was measured earlier holds.
    pub doubt: Option<Doubt>,
    /// Its group in the last decision; `None` for a new replica.
    pub group: Option<&'a str>,
    /// Its share of the application's traffic in the last decision.
    pub share: Option<f64>,
}

impl<'a> Contender<'a> {
    /// Return its slots as requests that waited show them; `None` if none has. `measured`: its speed is known.
    ///
    /// They count only if its speed is known or it worked lately: neither a page of zeros nor one that was frozen from
    /// its first reading on, with a queue on it, must fix a share by slots.
    fn observed_slots(&self, measured: bool) -> Option<f64> {
        let signals = self.signals?;
        let worked = || signals.reading.measured_at - signals.busy_at <= IDLE_SECONDS && signals.frozen().is_none();
        signals.observed_slots.full_at.filter(|_| measured || worked())
    }

    fn most_running(&self) -> f64 {
        self.signals.map_or(0.0, |signals| signals.observed_slots.most_running)
    }

    fn speed(&self, unit: Unit) -> Option<f64> {
        self.signals.and_then(|signals| signals.speed(unit))
    }

    fn by_id(&self, other: &Self) -> Ordering {
        (self.name, self.restarts).cmp(&(other.name, other.restarts))
    }

    /// Return its signals if they are without doubt: others show neither a load nor a queue nor free slots.
    #[must_use]
    pub fn known(&self) -> Option<&'a Signals> {
        self.signals.filter(|_| self.doubt.is_none())
    }
}

/// What one replica can do at the same time, and how fast.
struct Capacity {
    contender: usize,
    slots: f64,
    /// Work of a slot in a second, in any unit that is the same for all replicas.
    speed: f64,
    /// False if the slots are those of its peers.
    limited: bool,
    /// False if the speed is that of its peers.
    measured: bool,
    /// Whether the slots are those of its configuration.
    configured: bool,
}

/// Replicas that are alike.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Stable and unique among the groups of all applications of the endpoint's namespace.
    pub name: String,
    /// Indexes of the contenders.
    pub members: Vec<usize>,
    /// Of all members together.
    pub slots: f64,
    /// Whether the slots of all members are known.
    pub limited: bool,
    /// Work of a slot in a second.
    pub speed: f64,
}

/// Return the groups, that of the greatest capacity first; the order of contenders does not matter.
#[must_use]
pub fn group_alike(application: &str, contenders: &[Contender<'_>]) -> Vec<Group> {
    let mut ordered = estimate(contenders);
    let by_id = |a: &Capacity, b: &Capacity| contenders[a.contender].by_id(&contenders[b.contender]);
    ordered.sort_by(|a, b| b.slots.total_cmp(&a.slots).then(b.speed.total_cmp(&a.speed)).then_with(|| by_id(a, b)));
    let mut parts: Vec<Vec<Capacity>> = Vec::new();
    for capacity in ordered {
        match parts.iter_mut().find(|part| are_alike(&part[0], &capacity, contenders)) {
            Some(part) => part.push(capacity),
            None => parts.push(vec![capacity]),
        }
    }
    let total = |part: &[Capacity]| part.iter().map(|each| each.slots * each.speed).sum::<f64>();
    parts.sort_by(|a, b| total(b).total_cmp(&total(a)).then_with(|| by_id(&a[0], &b[0])));
    let names = names(application, &parts, contenders);
    names.into_iter().zip(&parts).map(|(name, part)| group(name, part)).collect()
}

/// Return the capacity of each contender. What is unknown of a replica is taken from its peers.
///
/// A replica whose slots are unknown never had to let a request wait, so it has as many as the largest of its peers, and
/// as many as were seen running at any such replica. An unknown speed is that of replicas with as many slots. Speeds are
/// in the unit in which most are known, so that they can be compared with each other.
///
/// Configured slots are the most that an engine works on at once, and its memory may hold fewer requests. So they count
/// until requests wait at one replica although fewer run there, and from then on are only an upper bound of each.
fn estimate(contenders: &[Contender<'_>]) -> Vec<Capacity> {
    let speeds_in = |unit| contenders.iter().map(|each| each.speed(unit)).collect::<Vec<_>>();
    let unknown = |speeds: &[Option<f64>]| speeds.iter().filter(|speed| speed.is_none()).count();
    let (tokens, requests) = (speeds_in(Unit::Tokens), speeds_in(Unit::Requests));
    let speeds = if unknown(&requests) < unknown(&tokens) { &requests } else { &tokens };
    let measured = tokens.iter().zip(&requests).map(|(token, request)| token.is_some() || request.is_some());
    let observed: Vec<_> =
        contenders.iter().zip(measured).map(|(each, measured)| each.observed_slots(measured)).collect();
    let configured = are_as_configured(contenders, &observed);
    let known: Vec<_> = contenders
        .iter()
        .zip(observed)
        .map(|(each, observed)| if configured && each.slots > 0 { Some(f64::from(each.slots)) } else { observed })
        .collect();
    let seen = contenders.iter().zip(&known).map(|(each, own)| own.unwrap_or_else(|| each.most_running()));
    let assumed = seen.fold(UNKNOWN_SLOTS, f64::max);
    let at_most = |each: &Contender<'_>| if each.slots > 0 { f64::from(each.slots) } else { f64::INFINITY };
    let slots: Vec<f64> =
        contenders.iter().zip(&known).map(|(each, own)| own.unwrap_or(assumed).min(at_most(each))).collect();
    (0..contenders.len())
        .map(|contender| Capacity {
            contender,
            slots: slots[contender],
            speed: speeds[contender].unwrap_or_else(|| peers_speed(slots[contender], &slots, speeds)),
            limited: known[contender].is_some(),
            measured: speeds[contender].is_some(),
            configured: configured && contenders[contender].slots > 0,
        })
        .collect()
}

/// Return whether no queue shows that a replica has fewer slots than configured.
fn are_as_configured(contenders: &[Contender<'_>], observed: &[Option<f64>]) -> bool {
    let holds = |(each, observed): (&Contender<'_>, &Option<f64>)| {
        observed.is_none_or(|found| found >= REFUTED_PART * f64::from(each.slots))
    };
    contenders.iter().zip(observed).all(holds)
}

fn peers_speed(slots: f64, all_slots: &[f64], speeds: &[Option<f64>]) -> f64 {
    let known = || speeds.iter().zip(all_slots).filter_map(|(speed, count)| speed.map(|speed| (speed, *count)));
    let mut peers: Vec<f64> =
        known().filter(|(_, count)| count.total_cmp(&slots).is_eq()).map(|(speed, _)| speed).collect();
    if peers.is_empty() {
        peers = known().map(|(speed, _)| speed).collect();
    }
    median(peers).unwrap_or(1.0)
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    Some(if values.len() % 2 == 1 { upper } else { f64::midpoint(values[middle - 1], upper) })
}

fn are_alike(first: &Capacity, other: &Capacity, contenders: &[Contender<'_>]) -> bool {
    let (mine, theirs) = (&contenders[other.contender], &contenders[first.contender]);
    let together = mine.group.is_some() && mine.group == theirs.group;
    let tolerance = if together { PART_FACTOR } else { JOIN_FACTOR };
    if ratio(other.speed, first.speed) > tolerance {
        return false;
    }
    if first.configured && other.configured {
        return mine.slots == theirs.slots;
    }
    ratio(other.slots, first.slots) <= tolerance
}

fn ratio(a: f64, b: f64) -> f64 {
    if a > b { a / b } else { b / a }
}

/// Return a name for each part: the one that most of its members had, else the first free one.
///
/// The first name is the application's own; further ones have a number after a slash, which no application's name has.
fn names(application: &str, parts: &[Vec<Capacity>], contenders: &[Contender<'_>]) -> Vec<String> {
    let mut found: Vec<Option<&str>> = Vec::new();
    for part in parts {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for name in part.iter().filter_map(|each| contenders[each.contender].group) {
            *counts.entry(name).or_default() += 1;
        }
        let own = counts.into_iter().filter(|(name, _)| is_name(name, application) && !found.contains(&Some(*name)));
        found.push(own.max_by_key(|(name, count)| (*count, *name)).map(|(name, _)| name));
    }
    let taken = found.clone();
    let mut free = (1..)
        .map(|number| if number == 1 { application.to_owned() } else { format!("{application}/{number}") })
        .filter(|name| !taken.contains(&Some(name.as_str())));
    found.into_iter().map(|name| name.map_or_else(|| free.next().unwrap_or_default(), str::to_owned)).collect()
}

fn is_name(name: &str, application: &str) -> bool {
    name.split('/').next() == Some(application)
}

fn group(name: String, part: &[Capacity]) -> Group {
    let measured = part.iter().filter(|capacity| capacity.measured).count();
    let speeds = part.iter().filter(|capacity| measured == 0 || capacity.measured).map(|capacity| capacity.speed);
    Group {
        name,
        members: part.iter().map(|capacity| capacity.contender).collect(),
        slots: part.iter().map(|capacity| capacity.slots).sum(),
        limited: part.iter().all(|capacity| capacity.limited),
        speed: speeds.sum::<f64>() / if measured == 0 { part.len() } else { measured } as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::{Contender, estimate, group_alike};
    use crate::signals::Signals;
    use crate::slots::ObservedSlots;
    use crate::speed::Work;

    fn worked(speed: f64) -> Signals {
        let requests = Work { seconds: 60.0, slot_seconds: 60.0, amount: 60.0 * speed };
        Signals { updated_at: Some(0.0), busy_seconds: 60.0, requests, ..Signals::default() }
    }

    fn contender<'a>(name: &'a str, slots: u32, signals: Option<&'a Signals>, group: Option<&'a str>) -> Contender<'a> {
        Contender { name, restarts: 0, slots, signals, doubt: None, group, share: None }
    }

    #[test]
    fn an_unknown_speed_is_that_of_replicas_with_as_many_slots() {
        let (fast, slow) = (worked(8.0), worked(2.0));
        let found = estimate(&[
            contender("a", 16, Some(&fast), None),
            contender("b", 4, Some(&slow), None),
            contender("c", 4, Some(&slow), None),
            contender("d", 16, None, None),
            contender("e", 8, None, None),
        ]);
        assert_eq!(found.iter().map(|each| each.speed).collect::<Vec<_>>(), [8.0, 2.0, 2.0, 8.0, 2.0]);
    }

    #[test]
    fn the_speed_of_a_group_is_the_mean_of_those_that_were_measured() {
        let (usual, slower) = (worked(8.0), worked(6.5));
        let groups = group_alike(
            "x",
            &[
                contender("a", 4, Some(&usual), None),
                contender("b", 4, Some(&usual), None),
                contender("c", 4, Some(&slower), None),
                contender("d", 4, None, None), // whose speed is taken to be 8, the median
            ],
        );
        assert_eq!(groups.iter().map(|group| group.speed).collect::<Vec<_>>(), [7.5]);
    }

    fn full_at(slots: f64) -> Signals {
        Signals { observed_slots: ObservedSlots { most_running: slots, full_at: Some(slots) }, ..worked(1.0) }
    }

    fn slots(contenders: &[Contender<'_>]) -> Vec<f64> {
        estimate(contenders).iter().map(|each| each.slots).collect()
    }

    #[test]
    fn configured_slots_count_until_requests_wait_where_far_fewer_run() {
        let (queued, nearly) = (full_at(8.0), full_at(13.0));
        let with = |first| [first, contender("b", 16, None, None), contender("c", 4, None, None)];
        assert_eq!(slots(&with(contender("a", 16, None, None))), [16.0, 16.0, 4.0]);
        assert_eq!(slots(&with(contender("a", 16, Some(&nearly), None))), [16.0, 16.0, 4.0]);
        assert_eq!(
            slots(&with(contender("a", 16, Some(&queued), None))),
            [8.0, 8.0, 4.0],
            "at most the configured ones"
        );
    }

    #[test]
    fn replicas_that_are_configured_alike_part_when_their_queues_show_other_slots() {
        let groups = |queues: [f64; 2]| {
            let [first, second] = queues.map(full_at);
            let both = [contender("a", 16, Some(&first), None), contender("b", 16, Some(&second), None)];
            group_alike("x", &both).iter().map(|group| group.slots).collect::<Vec<_>>()
        };
        assert_eq!(groups([16.0, 16.0]), [32.0]);
        assert_eq!(groups([10.0, 4.0]), [10.0, 4.0]);
    }

    #[test]
    fn a_group_keeps_the_name_that_most_of_its_members_had() {
        let alike =
            [("a", "x/2"), ("b", "x/2"), ("c", "x/3")].map(|(name, group)| contender(name, 4, None, Some(group)));
        let other = contender("d", 16, None, Some("x/2"));
        let groups = group_alike("x", &[&alike[..], &[other]].concat());
        assert_eq!(groups.iter().map(|group| group.name.as_str()).collect::<Vec<_>>(), ["x/2", "x/3"]);
        assert_eq!(group_alike("x", &alike)[0].name, "x/2");
        assert_eq!(group_alike("y", &alike)[0].name, "y", "names of another application do not count");
    }
}
