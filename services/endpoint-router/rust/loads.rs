//! The signals of one application's replicas, as a value: a report makes another one.

use std::sync::Arc;

use crate::reading::Reading;
use crate::report::{LoadReport, ReplicaLoad};
use crate::signals::Signals;

/// A reading that is older than this when it is reported may get stale before the next report.
const FRESH_SECONDS: f64 = 1.0;

/// One run of a replica, and what was measured of it. What was measured before a restart does not hold after it.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Unique in the application.
    pub name: Arc<str>,
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
    /// Whether that report showed only that the readings before it still hold: of replicas without work. A thousand idle
    /// endpoints report hundreds of times a second, and none of it is a reason to decide.
    pub confirmed: bool,
    /// What that report showed of the engines' pages; `None` before the first one.
    pages: Option<Arc<Pages>>,
}

/// What the pages of an application's engines are.
#[derive(Clone, Debug, Default, PartialEq)]
struct Pages {
    versions: Vec<String>,
    missing: Vec<String>,
}

impl Pages {
    fn are_of(&self, report: &LoadReport) -> bool {
        self.versions == report.page_versions && self.missing == report.missing_signals
    }

    fn new(report: &LoadReport) -> Self {
        Self { versions: report.page_versions.clone(), missing: report.missing_signals.clone() }
    }
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
        Self { entries: replicas, confirmed: false, ..self.clone() }
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
        let pages = self.pages.clone().filter(|pages| pages.are_of(report));
        let pages = pages.or_else(|| Some(Arc::new(Pages::new(report))));
        let mut after = Self { entries: self.entries.clone(), reported_at: at, confirmed: true, pages };
        let mut changed = false;
        for entry in &mut after.entries {
            let end = loads.partition_point(|load| *load.name <= *entry.name);
            let Some(load) = loads[..end].last().filter(|load| *load.name == *entry.name) else { continue };
            if load.port == 0 || load.port == entry.port {
                let reading = load.reading(at);
                after.confirmed &= entry.signals.as_ref().is_some_and(|signals| signals.is_confirmed_by(&reading));
                changed |= entry.add(reading);
            } // else it was measured at the process that had this name before
        }
        let readings = after.entries.iter().filter_map(|entry| Some(&entry.signals.as_deref()?.reading));
        after.confirmed &= readings.map(|reading| at - reading.measured_at).all(|age| age <= FRESH_SECONDS);
        changed.then_some(after)
    }

    /// Return whether the last report that had something new showed the same of the engines' pages.
    #[must_use]
    pub fn has_pages_of(&self, report: &LoadReport) -> bool {
        self.pages.as_ref().is_some_and(|pages| pages.are_of(report))
    }

    /// Return what holds after one reading of a replica, which is added if it is new.
    #[must_use]
    pub fn with(&self, name: &str, restarts: u32, reading: Reading) -> Self {
        let mut after = self.clone();
        if self.find(name).is_none_or(|entry| entry.restarts != restarts) {
            let added = Entry { name: name.into(), restarts, port: 0, signals: None };
            let others = self.entries.iter().filter(|entry| &*entry.name != name).cloned();
            after = self.of(others.chain([added]).collect());
        }
        if let Ok(index) = after.entries.binary_search_by(|entry| (*entry.name).cmp(name)) {
            after.entries[index].add(reading);
        }
        after
    }

    /// Return the signals of one run of a replica; `None` before the first reading.
    #[must_use]
    pub fn signals(&self, name: &str, restarts: u32) -> Option<&Arc<Signals>> {
        self.find(name).filter(|entry| entry.restarts == restarts)?.signals.as_ref()
    }

    fn find(&self, name: &str) -> Option<&Entry> {
        self.entries.binary_search_by(|entry| (*entry.name).cmp(name)).ok().map(|index| &self.entries[index])
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
        Entry { name: name.into(), restarts, port: 9000, signals: None }
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

    fn idle(second: i64, name: &str) -> ReplicaLoad {
        let measured_at = Some(Timestamp { seconds: second, nanos: 0 });
        ReplicaLoad { measured_at, running_requests: Some(0.0), ..load(name, 0, "") }
    }

    /// Return whether the last one of these reports, each of two replicas, is confirmed.
    fn is_confirmed(reports: Vec<(i64, [ReplicaLoad; 2])>) -> bool {
        let loads = Loads::default().of(vec![entry("a", 0), entry("b", 0)]);
        let add = |loads: Loads, (second, replicas): (i64, [ReplicaLoad; 2])| {
            loads.after(&report(second, replicas.to_vec())).unwrap_or(loads)
        };
        reports.into_iter().fold(loads, add).confirmed
    }

    #[test]
    fn a_report_of_resting_replicas_confirms_what_was_reported_before() {
        let both = |second| (second, [idle(second, "a"), idle(second, "b")]);
        assert!(!is_confirmed(vec![both(100)]));
        assert!(is_confirmed(vec![both(100), both(102)]));
        assert!(!is_confirmed(vec![both(100), both(103)]), "the last reading was stale meanwhile");
        assert!(is_confirmed(vec![both(1_000), both(1_002), both(1_004)]), "it never had work");
    }

    #[test]
    fn work_and_what_follows_from_it_are_confirmed_by_no_report() {
        let at = |second, running| {
            (second, [idle(second, "a"), ReplicaLoad { running_requests: Some(running), ..idle(second, "b") }])
        };
        let then_rest = |seconds: i64| {
            is_confirmed(
                [at(100, 1.0), at(101, 1.0)]
                    .into_iter()
                    .chain((102..=101 + seconds).map(|second| at(second, 0.0)))
                    .collect(),
            )
        };
        assert!(!is_confirmed(vec![at(100, 1.0), at(101, 1.0)]));
        assert!(!then_rest(9) && then_rest(11) && then_rest(600), "means of the load fade meanwhile");
        assert!(!then_rest(601), "what was measured is forgotten");
        assert!(then_rest(602), "it has been forgotten");
    }

    #[test]
    fn a_resting_replica_that_does_not_answer_or_counts_is_a_reason_to_decide() {
        let with = |second, b: ReplicaLoad| (second, [idle(second, "a"), b]);
        let counted = ReplicaLoad { finished_requests_total: Some(1.0), ..idle(102, "b") };
        let failed = ReplicaLoad { problem: "refused".to_owned(), ..idle(102, "b") };
        let first = || with(100, idle(100, "b"));
        assert!(!is_confirmed(vec![first(), with(102, counted)]));
        assert!(!is_confirmed(vec![first(), with(102, failed.clone())]));
        assert!(!is_confirmed(vec![first(), with(102, failed), with(103, idle(103, "b"))]));
        assert!(!is_confirmed(vec![first(), with(102, idle(100, "b"))]), "its reading gets old");
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
