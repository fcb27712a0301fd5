//! Compare the replicas of one application: which part of its traffic each gets.
//!
//! Replicas that are alike form a group and have equal shares (`groups`); `shares` has those of the groups. Here are the
//! two together, with weights as integers, and what holds while a router that has just started knows no load.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::assignment::saturated;
use crate::groups::{Contender, Group, group_alike};
use crate::limits::Load;
use crate::loads::Loads;
use crate::reading::{Doubt, Reading};
use crate::shares::{steady_shares, wanted_shares};
use crate::signals::{Signals, Staleness};
use crate::weights::apportion;

/// Shares from a status are rounded: they add up to 1 within this difference.
const ROUNDED: f64 = 1e-3;

/// One run of a replica of the application.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    /// Unique in the application.
    pub name: String,
    /// Of its engine.
    pub restarts: u32,
    /// From the application's fact; 0 if unknown.
    pub slots: u32,
    /// Whether it can get traffic.
    pub ready: bool,
}

/// Its replicas, and the age from which their readings cannot be used.
#[derive(Clone, Debug, PartialEq)]
pub struct Members {
    /// Sorted.
    all: Vec<Member>,
    stale: Staleness,
}

impl Members {
    /// Return the members, in any order.
    #[must_use]
    pub fn new(mut all: Vec<Member>, stale: Staleness) -> Self {
        all.sort();
        Self { all, stale }
    }
}

/// One member in a comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// Index of its group; `None` if it gets no traffic.
    pub group: Option<usize>,
    /// `None` if nothing was reported.
    pub signals: Option<Arc<Signals>>,
    /// Why its newest reading cannot be used; `None` if it can, or if the member gets no traffic.
    pub doubt: Option<Doubt>,
}

/// A group in a comparison: a locality in Envoy.
#[cfg_attr(
    feature = "python",
    pyo3::pyclass(frozen, get_all, eq, name = "RankedGroup", module = "arks.endpoint_router.domain.native")
)]
#[derive(Clone, Debug, PartialEq)]
pub struct Ranked {
    /// As in `Group`.
    pub name: String,
    /// Number of members.
    pub size: usize,
    /// Of the application's traffic, 0 to 1.
    pub share: f64,
    /// The share that follows from the newest reports; `share` stays while it differs by little.
    pub target: f64,
    /// Its part of the application's weight.
    pub weight: u64,
}

/// The replicas of one application compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    members: Arc<Members>,
    /// In the order of the members.
    pub standings: Vec<Standing>,
    /// Sorted by name.
    pub groups: Vec<Ranked>,
    /// Whether something that was measured counts.
    pub measured: bool,
    /// Whether it is that of before the router's start, because no load was reported yet.
    pub held: bool,
}

/// What a comparison depends on, besides the replicas.
#[derive(Clone, Copy)]
pub struct Situation<'a> {
    /// Of the application.
    pub loads: &'a Loads,
    /// The last comparison.
    pub before: Option<&'a Comparison>,
    /// The router has just started: replicas of which no load was reported keep their last groups and shares.
    pub hold: bool,
    /// Seconds since the epoch.
    pub now: f64,
    /// Of the application; those of its groups add up to it.
    pub weight: u64,
}

impl<'a> Situation<'a> {
    fn signals(&self, member: &Member) -> Option<&'a Arc<Signals>> {
        self.loads.signals(&member.name, member.restarts)
    }

    fn contender(&self, member: &'a Member, stale: Staleness) -> Contender<'a> {
        let (signals, before) = (self.signals(member), self.before.and_then(|before| before.group_of(member)));
        Contender {
            name: &member.name,
            restarts: member.restarts,
            slots: slots(member, signals.map(|signals| &signals.reading)),
            signals: signals.map(Arc::as_ref).filter(|signals| signals.is_remembered(self.now)),
            doubt: signals.map_or(Some(Doubt::Missing), |signals| signals.doubt(self.now, stale)),
            group: before.map(|group| group.name.as_str()),
            share: before.map(|group| group.share / group.size as f64),
        }
    }

    /// Return whether the application keeps its last groups and shares.
    fn must_hold(&self, ready: &[&Member], contenders: &[Contender<'_>]) -> bool {
        let share: f64 = contenders.iter().filter_map(|each| each.share).sum();
        self.hold
            && ready.len() > 1
            && contenders.iter().all(|each| each.share.is_some())
            && ready.iter().all(|member| self.signals(member).is_none())
            && (share - 1.0).abs() <= ROUNDED
    }

    fn standing(&self, member: &Member) -> Standing {
        Standing { group: None, signals: self.signals(member).cloned(), doubt: None }
    }
}

impl Comparison {
    /// Compare the members. Equal inputs give equal comparisons, in every router and in whatever order they arrived.
    #[must_use]
    pub fn new(application: &str, members: &Arc<Members>, situation: Situation<'_>) -> Self {
        let (indexes, ready): (Vec<usize>, Vec<&Member>) =
            members.all.iter().enumerate().filter(|(_, member)| member.ready).unzip();
        let contenders: Vec<_> = ready.iter().map(|member| situation.contender(member, members.stale)).collect();
        let held = situation.must_hold(&ready, &contenders);
        let mut ranked = if held { held_groups(&contenders) } else { ranked_groups(application, &contenders) };
        ranked.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
        let shares: Vec<f64> = ranked.iter().map(|(group, _)| group.share).collect();
        for ((group, _), weight) in ranked.iter_mut().zip(apportion(&shares, situation.weight)) {
            group.weight = weight;
        }
        let mut standings: Vec<Standing> = members.all.iter().map(|member| situation.standing(member)).collect();
        for (number, (_, of_group)) in ranked.iter().enumerate() {
            for contender in of_group {
                standings[indexes[*contender]].group = Some(number);
            }
        }
        let measured = contenders.iter().any(|each| each.doubt.is_none() || each.signals.is_some());
        for (contender, index) in contenders.into_iter().zip(indexes) {
            standings[index].doubt = contender.doubt;
        }
        let groups = ranked.into_iter().map(|(group, _)| group).collect();
        Self { members: Arc::clone(members), standings, groups, measured, held }
    }

    /// Return the comparison that a status shows: of each replica its name, restarts, group and share.
    #[must_use]
    pub fn restored(replicas: Vec<(String, u32, String, f64)>) -> Self {
        let mut groups: BTreeMap<String, Ranked> = BTreeMap::new();
        let mut runs = Vec::new();
        for (name, restarts, group, share) in replicas {
            let ranked = groups.entry(group.clone()).or_insert_with(|| Ranked::new(group.clone()));
            (ranked.size, ranked.share, ranked.target) = (ranked.size + 1, ranked.share + share, ranked.share + share);
            runs.push((Member { name, restarts, slots: 0, ready: true }, group));
        }
        runs.sort();
        let index = |group: &str| groups.keys().position(|name| name == group);
        let standings =
            runs.iter().map(|(_, group)| Standing { group: index(group), signals: None, doubt: None }).collect();
        let stale = Staleness { working: f64::INFINITY, idle: f64::INFINITY };
        let members = Arc::new(Members::new(runs.into_iter().map(|(member, _)| member).collect(), stale));
        Self { members, standings, groups: groups.into_values().collect(), measured: false, held: false }
    }

    /// Return whether both have the same members with the same room.
    #[must_use]
    pub fn has_same_rooms(&self, other: &Self) -> bool {
        let room = |(member, standing): (&Member, &Standing)| standing.room(member);
        self.with_standings().map(room).eq(other.with_standings().map(room))
    }

    /// Return the members with their standings.
    pub fn with_standings(&self) -> impl Iterator<Item = (&Member, &Standing)> {
        self.members.all.iter().zip(&self.standings)
    }

    /// Return what limits depend on, of each member that gets traffic.
    #[must_use]
    pub fn loads(&self) -> Vec<Load> {
        let load = |(member, standing): (&Member, &Standing)| {
            let reading = standing.signals.as_ref().map(|signals| &signals.reading);
            let usable = reading.filter(|_| standing.doubt.is_none());
            let waiting = usable.and_then(|reading| reading.waiting).unwrap_or(0.0);
            Load { slots: slots(member, reading), waiting, drain_rate: usable.and_then(|reading| reading.drain_rate) }
        };
        self.with_standings().filter(|(_, standing)| standing.group.is_some()).map(load).collect()
    }

    /// Return whether both have the same members in the same groups.
    #[must_use]
    pub fn has_same_groups(&self, other: &Self) -> bool {
        let mine = self.groups.iter().map(|group| &group.name);
        let same_run = |(mine, other): (&Member, &Member)| (&mine.name, mine.restarts) == (&other.name, other.restarts);
        let members = || self.members.all.iter().zip(&other.members.all);
        (Arc::ptr_eq(&self.members, &other.members)
            || (self.members.all.len() == other.members.all.len() && members().all(same_run)))
            && mine.eq(other.groups.iter().map(|group| &group.name))
            && self.standings.iter().zip(&other.standings).all(|(mine, other)| mine.group == other.group)
    }

    /// Return whether these groups have the same weights too, so that Envoy would see no difference.
    #[must_use]
    pub fn has_same_traffic(&self, other: &Self) -> bool {
        self.groups.iter().map(|group| group.weight).eq(other.groups.iter().map(|group| group.weight))
            && self.has_same_groups(other)
    }

    fn group_of(&self, member: &Member) -> Option<&Ranked> {
        let run = (&member.name, member.restarts);
        let index = self.members.all.binary_search_by(|each| (&each.name, each.restarts).cmp(&run)).ok()?;
        self.standings[index].group.map(|number| &self.groups[number])
    }
}

impl Ranked {
    fn new(name: String) -> Self {
        Self { name, size: 0, share: 0.0, target: 0.0, weight: 0 }
    }

    /// Return the weight that each member is shown with.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a weight is a u32, and not negative")]
    pub fn member_weight(&self) -> u32 {
        let even = f64::from(saturated(self.weight)) / self.size as f64;
        (even.round_ties_even() as u32).max(1)
    }
}

impl Standing {
    /// Return how many requests in flight the member takes before affinity counts it as busy: up to half of its slots.
    ///
    /// With few requests in flight a bound by the mean would send every second request away from its cache, though
    /// nothing waits. A power of two, so that observed slots, which vary, change nothing in Envoy most of the time.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "slots are not negative")]
    pub fn room(&self, member: &Member) -> u32 {
        let half = (self.slots(member) / 2.0) as u32;
        half.checked_ilog2().map_or(0, |bits| 1 << bits)
    }

    /// Return the member's slots: those that its queue shows, at most the configured ones. Without a queue the configured
    /// ones, or else as many as were seen in use; 0 if none were.
    fn slots(&self, member: &Member) -> f64 {
        let reading = self.signals.as_ref().map(|signals| &signals.reading);
        let configured = f64::from(slots(member, reading));
        let observed = self.signals.as_ref().map(|signals| signals.observed_slots).unwrap_or_default();
        match observed.full_at.filter(|found| *found > 0.0) {
            Some(found) if configured > 0.0 => found.min(configured),
            Some(found) => found,
            None if configured > 0.0 => configured,
            None => observed.most_running,
        }
    }
}

/// Return its slots, from the application's fact or else from its engine; 0 if both are unknown.
fn slots(member: &Member, reading: Option<&Reading>) -> u32 {
    if member.slots > 0 { member.slots } else { reading.map_or(0, |reading| reading.slots) }
}

/// A group with the indexes of its contenders.
type Numbered = (Ranked, Vec<usize>);

/// Return the groups and shares of the last decision.
fn held_groups(contenders: &[Contender<'_>]) -> Vec<Numbered> {
    let mut groups: BTreeMap<&str, Numbered> = BTreeMap::new();
    for (number, contender) in contenders.iter().enumerate() {
        let name = contender.group.unwrap_or_default();
        let (group, members) = groups.entry(name).or_insert_with(|| (Ranked::new(name.to_owned()), Vec::new()));
        group.share += contender.share.unwrap_or(0.0);
        group.target = group.share;
        members.push(number);
        group.size = members.len();
    }
    groups.into_values().collect()
}

fn ranked_groups(application: &str, contenders: &[Contender<'_>]) -> Vec<Numbered> {
    let groups = group_alike(application, contenders);
    let wanted = wanted_shares(&groups, contenders);
    let shares = steady_shares(&groups, &wanted, contenders);
    let ranked = |(group, (share, target)): (Group, (f64, f64))| {
        (Ranked { name: group.name, size: group.members.len(), share, target, weight: 0 }, group.members)
    };
    groups.into_iter().zip(shares.into_iter().zip(wanted)).map(ranked).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Comparison, Member, Members, Situation};
    use crate::loads::Loads;
    use crate::reading::Reading;
    use crate::signals::Staleness;

    const WEIGHT: u64 = 100_000;

    fn members(slots: &[(&str, u32, bool)]) -> Arc<Members> {
        let member =
            |&(name, slots, ready): &(&str, u32, bool)| Member { name: name.to_owned(), restarts: 0, slots, ready };
        Arc::new(Members::new(slots.iter().map(member).collect(), Staleness { working: 3.0, idle: 5.0 }))
    }

    fn compared(members: &Arc<Members>, loads: &Loads, before: Option<&Comparison>, hold: bool) -> Comparison {
        Comparison::new("a", members, Situation { loads, before, hold, now: 100.0, weight: WEIGHT })
    }

    fn restored(shares: &[(&str, &str, f64)]) -> Comparison {
        let replica = |&(name, group, share): &(&str, &str, f64)| (name.to_owned(), 0, group.to_owned(), share);
        Comparison::restored(shares.iter().map(replica).collect())
    }

    fn weights(comparison: &Comparison) -> Vec<(&str, u64)> {
        comparison.groups.iter().map(|group| (group.name.as_str(), group.weight)).collect()
    }

    fn reading() -> Reading {
        Reading { measured_at: 99.5, running: Some(1.0), slots: 7, ..Reading::default() }
    }

    #[test]
    fn weights_of_groups_add_up_and_a_replica_that_is_not_ready_is_in_none() {
        let found = compared(
            &members(&[("a-0", 4, true), ("a-1", 16, true), ("a-2", 16, false)]),
            &Loads::default(),
            None,
            false,
        );
        assert_eq!(found.groups.iter().map(|group| group.weight).sum::<u64>(), WEIGHT);
        assert_eq!(found.standings.iter().map(|standing| standing.group).collect::<Vec<_>>(), [Some(1), Some(0), None]);
        assert!(!found.measured);
    }

    #[test]
    fn what_was_reported_of_a_replica_without_traffic_is_evidence_too() {
        let loads = Loads::default().with("a-1", 0, reading());
        let found = compared(&members(&[("a-0", 0, true), ("a-1", 0, false)]), &loads, None, false);
        assert_eq!(found.standings[1].signals.as_ref().map(|signals| signals.reading.slots), Some(7));
        assert_eq!(found.standings[1].doubt, None);
        assert!(!found.measured);
        assert_eq!(found.loads().len(), 1);
    }

    #[test]
    fn the_queue_of_a_reading_in_doubt_counts_for_no_limit() {
        let waiting = |measured_at| {
            let reading = Reading { measured_at, waiting: Some(50.0), ..reading() };
            let loads = Loads::default().with("a-0", 0, reading);
            compared(&members(&[("a-0", 0, true)]), &loads, None, false).loads()[0].waiting
        };
        assert_eq!((waiting(99.5), waiting(90.0)), (50.0, 0.0));
    }

    #[test]
    fn room_is_half_of_the_slots_that_can_be_in_use() {
        let room = |configured, running, waiting| {
            let reading = Reading { running: Some(running), waiting: Some(waiting), slots: 0, ..reading() };
            let found = compared(
                &members(&[("a-0", configured, true)]),
                &Loads::default().with("a-0", 0, reading),
                None,
                false,
            );
            let (member, standing) = found.with_standings().next().expect("there is one");
            standing.room(member)
        };
        assert_eq!((room(0, 16.0, 0.0), room(64, 16.0, 0.0)), (8, 32));
        assert_eq!((room(0, 16.0, 9.0), room(64, 16.0, 9.0), room(8, 16.0, 9.0)), (8, 8, 4));
    }

    #[test]
    fn last_shares_hold_after_a_start_for_exactly_these_replicas_without_a_report() {
        let before = restored(&[("a-0", "a/2", 0.3), ("a-1", "a", 0.7)]);
        let both = members(&[("a-0", 0, true), ("a-1", 0, true)]);
        let held = compared(&both, &Loads::default(), Some(&before), true);
        assert_eq!((weights(&held), held.held), (vec![("a", 70_000), ("a/2", 30_000)], true));
        let reported = Loads::default().with("a-0", 0, reading());
        let more = members(&[("a-0", 0, true), ("a-1", 0, true), ("a-2", 0, true)]);
        let fewer = members(&[("a-0", 0, true), ("a-1", 0, false)]);
        assert!(!compared(&both, &reported, Some(&before), true).held);
        assert!(!compared(&both, &Loads::default(), Some(&before), false).held);
        assert!(!compared(&more, &Loads::default(), Some(&before), true).held);
        assert!(!compared(&fewer, &Loads::default(), Some(&before), true).held);
        assert!(
            !compared(&both, &Loads::default(), Some(&restored(&[("a-0", "a", 0.3), ("a-1", "a", 0.6)])), true).held
        );
    }

    #[test]
    fn shares_that_are_nearly_right_stay_only_while_the_groups_are_the_same() {
        let both = members(&[("a-0", 9, true), ("a-1", 10, true)]);
        let compared_after = |shares: &[(&str, &str, f64)]| {
            let found = compared(&both, &Loads::default(), Some(&restored(shares)), false);
            found.groups.iter().map(|group| (group.share, group.target)).collect::<Vec<_>>()
        };
        let is_half = |share: f64| (share - 0.5).abs() < 1e-6;
        let parted = compared_after(&[("a-0", "a/2", 0.5), ("a-1", "a", 0.5)]);
        assert!(parted.iter().all(|(share, target)| is_half(*share) && !is_half(*target)), "{parted:?}");
        let together = compared_after(&[("a-0", "a", 0.5), ("a-1", "a", 0.5)]);
        assert!(together.iter().all(|(share, _)| !is_half(*share)), "{together:?}");
    }

    #[test]
    fn a_queue_takes_no_more_than_its_slots_of_the_room_that_others_have() {
        let twice = |loads: Loads, name, running, waiting, drain_rate| {
            let at = |measured_at| Reading {
                measured_at,
                running: Some(running),
                waiting: Some(waiting),
                drain_rate: Some(drain_rate),
                ..Reading::default()
            };
            loads.with(name, 0, at(98.5)).with(name, 0, at(99.5))
        };
        let loads = twice(twice(Loads::default(), "a-0", 4.0, 40.0, 200.0), "a-1", 2.0, 0.0, 100.0);
        let found = compared(&members(&[("a-0", 4, true), ("a-1", 16, true)]), &loads, None, false);
        let queued = found.groups.iter().find(|group| group.size == 1 && group.name == "a/2").map(|group| group.target);
        // Of 300 requests a second its share by capacity, less the 14 that find a free slot and 0.65 x 32 that wait elsewhere.
        // With 44 requests in 4 slots counted as used, the other would seem to have no free slot for the next second.
        let expected = 0.1973 - (14.0 + 0.65 * 32.0) / 300.0;
        assert!(queued.is_some_and(|share| (share - expected).abs() < 1e-3), "{queued:?} {expected}");
    }

    #[test]
    fn shares_are_those_of_the_present_load_as_soon_as_replicas_with_known_slots_begin_to_work() {
        let smaller_share = |slots: [u32; 2], readings: u32| {
            let load = |loads: Loads, name, running, number| {
                let measured_at = 99.5 - 0.25 * f64::from(readings - number);
                let running = Some(if number == 0 { 0.0 } else { running });
                loads.with(name, 0, Reading { measured_at, running, waiting: Some(0.0), ..Reading::default() })
            };
            let loads = (0..=readings)
                .fold(Loads::default(), |loads, number| load(load(loads, "a-0", 15.0, number), "a-1", 3.0, number));
            let both = members(&[("a-0", slots[0], true), ("a-1", slots[1], true)]);
            let found = compared(&both, &loads, None, false);
            found.groups.iter().map(|group| group.target).fold(1.0, f64::min)
        };
        let (begun, steady) = (smaller_share([16, 4], 1), smaller_share([16, 4], 40));
        assert!((begun / steady - 1.0).abs() < 0.05, "{begun} {steady}");
        assert!(smaller_share([0, 4], 1) < 0.8 * begun, "15 may be few of the slots of the other");
    }

    #[test]
    fn other_weights_are_other_traffic_in_the_same_groups() {
        let both = members(&[("a-0", 0, true), ("a-1", 0, true)]);
        let hold = |first| {
            let before = restored(&[("a-0", "a/2", first), ("a-1", "a", 1.0 - first)]);
            compared(&both, &Loads::default(), Some(&before), true)
        };
        assert!(hold(0.3).has_same_traffic(&hold(0.3)));
        assert!(hold(0.3).has_same_groups(&hold(0.4)) && !hold(0.3).has_same_traffic(&hold(0.4)));
        let together = compared(&both, &Loads::default(), None, false);
        let renamed = compared(&members(&[("a-0", 0, true), ("a-2", 0, true)]), &Loads::default(), None, false);
        assert!(!together.has_same_groups(&hold(0.3)) && !together.has_same_groups(&renamed));
    }
}
