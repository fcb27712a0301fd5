//! The signals of one application's replicas, as a value: a report makes another one.

use std::sync::Arc;

use crate::reading::Reading;
use crate::report::{LoadReport, ReplicaLoad};
use crate::signals::Signals;

/// One run of a replica, and what was measured of it. What was measured before a restart does not hold after it.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Unique in the application.
    pub name: String,
    /// Of its engine.
    pub restarts: u32,
    /// Where it listens; 0 if that is unknown.
    pub port: u32,
    /// `None` before the first reading.
    pub signals: Option<Arc<Signals>>,
}

/// The signals of one application.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Loads {
    /// Sorted by name.
    entries: Vec<Entry>,
    /// Time of the newest report, in seconds since the epoch.
    reported_at: f64,
}

impl Loads {
    /// Return what holds for these replicas: the signals of those that were there before.
    #[must_use]
    pub fn of(&self, mut replicas: Vec<Entry>) -> Self {
        for replica in &mut replicas {
            let before = self.find(&replica.name).filter(|before| before.restarts == replica.restarts);
            replica.signals = replica.signals.take().or_else(|| before.and_then(|before| before.signals.clone()));
        }
        replicas.sort_by(|a, b| a.name.cmp(&b.name));
        replicas.dedup_by(|a, b| a.name == b.name);
        Self { entries: replicas, reported_at: self.reported_at }
    }

    /// Return what holds after a report; `None` if it is older than the last one, or has nothing new.
    #[must_use]
    pub fn after(&self, report: &LoadReport) -> Option<Self> {
        let at = report.measured_at();
        if at < self.reported_at {
            return None;
        }
        let mut loads: Vec<&ReplicaLoad> = report.replicas.iter().collect();
        loads.sort_by(|a, b| a.name.cmp(&b.name)); // it keeps the order of equal names, of which the last one counts
        let mut after = Self { entries: self.entries.clone(), reported_at: at };
        let mut changed = false;
        for entry in &mut after.entries {
            let end = loads.partition_point(|load| load.name <= entry.name);
            let Some(load) = loads[..end].last().filter(|load| load.name == entry.name) else { continue };
            if load.port == 0 || load.port == entry.port {
                changed |= entry.add(load.reading(at));
            } // else it was measured at the process that had this name before
        }
        changed.then_some(after)
    }

    /// Return what holds after one reading of a replica, which is added if it is new.
    #[must_use]
    pub fn with(&self, name: &str, restarts: u32, reading: Reading) -> Self {
        let mut after = self.clone();
        if self.find(name).is_none_or(|entry| entry.restarts != restarts) {
            let added = Entry { name: name.to_owned(), restarts, port: 0, signals: None };
            let others = self.entries.iter().filter(|entry| entry.name != name).cloned();
            after = self.of(others.chain([added]).collect());
        }
        if let Ok(index) = after.entries.binary_search_by(|entry| entry.name.as_str().cmp(name)) {
            after.entries[index].add(reading);
        }
        after
    }

    /// Return the signals of one run of a replica; `None` before the first reading.
    #[must_use]
    pub fn signals(&self, name: &str, restarts: u32) -> Option<&Signals> {
        self.find(name).filter(|entry| entry.restarts == restarts)?.signals.as_deref()
    }

    fn find(&self, name: &str) -> Option<&Entry> {
        self.entries.binary_search_by(|entry| entry.name.as_str().cmp(name)).ok().map(|index| &self.entries[index])
    }
}

impl Entry {
    /// Add a reading; return whether it is new.
    fn add(&mut self, reading: Reading) -> bool {
        let before = self.signals.as_deref();
        if before.is_some_and(|signals| signals.reading == reading) {
            return false;
        }
        self.signals = Some(Arc::new(Signals::after(before, reading)));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::{Entry, Loads};
    use crate::report::{LoadReport, ReplicaLoad, Timestamp};

    fn entry(name: &str, restarts: u32) -> Entry {
        Entry { name: name.to_owned(), restarts, port: 9000, signals: None }
    }

    fn load(name: &str, port: u32, problem: &str) -> ReplicaLoad {
        ReplicaLoad { name: name.to_owned(), port, problem: problem.to_owned(), ..ReplicaLoad::default() }
    }

    fn report(seconds: i64, replicas: Vec<ReplicaLoad>) -> LoadReport {
        LoadReport { measured_at: Some(Timestamp { seconds, nanos: 0 }), replicas, ..LoadReport::default() }
    }

    fn problem<'a>(loads: &'a Loads, name: &str) -> Option<&'a str> {
        loads.signals(name, 0).map(|signals| signals.reading.problem.as_str())
    }

    #[test]
    fn each_replica_gets_its_own_reading_whatever_the_order() {
        let loads = Loads::default().of(vec![entry("b", 0), entry("a", 0)]);
        let after = loads.after(&report(1, vec![load("b", 0, "of b"), load("a", 9000, "of a")])).unwrap();
        assert_eq!((problem(&after, "a"), problem(&after, "b")), (Some("of a"), Some("of b")));
    }

    #[test]
    fn of_two_readings_of_a_replica_the_last_one_counts() {
        let loads = Loads::default().of(vec![entry("a", 0)]);
        let after = loads.after(&report(1, vec![load("a", 0, "first"), load("a", 0, "last")])).unwrap();
        assert_eq!(problem(&after, "a"), Some("last"));
    }

    #[test]
    fn a_reading_of_an_unknown_replica_or_of_another_process_is_nothing_new() {
        let loads = Loads::default().of(vec![entry("a", 0)]);
        assert_eq!(loads.after(&report(1, vec![load("b", 0, "x"), load("a", 9001, "x")])), None);
    }

    #[test]
    fn a_report_that_is_older_or_has_the_same_readings_is_nothing_new() {
        let first = report(2, vec![load("a", 0, "x")]);
        let after = Loads::default().of(vec![entry("a", 0)]).after(&first).unwrap();
        assert_eq!(after.after(&first), None);
        assert_eq!(after.after(&report(1, vec![load("a", 0, "older")])), None);
        assert!(after.after(&report(3, vec![load("a", 0, "newer")])).is_some());
    }

    #[test]
    fn what_was_measured_stays_with_its_run_of_a_replica() {
        let before = Loads::default().of(vec![entry("a", 0), entry("b", 0), entry("c", 0)]);
        let after = before.after(&report(1, ["a", "b", "c"].map(|name| load(name, 0, "x")).to_vec())).unwrap();
        let next = after.of(vec![entry("a", 0), entry("b", 1)]);
        assert_eq!(problem(&next, "a"), Some("x"));
        assert!(next.signals("b", 1).is_none() && next.signals("b", 0).is_none() && next.signals("c", 0).is_none());
    }
}
