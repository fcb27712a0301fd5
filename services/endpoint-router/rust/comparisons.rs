//! The applications of one endpoint: each compared by itself, and the limits that follow from all of them.

use std::sync::Arc;

use crate::comparison::{Comparison, Members, Situation};
use crate::limits::{Limits, limits};
use crate::loads::Loads;

/// One application that may get traffic of the endpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// Its name.
    pub application: Arc<str>,
    /// Its replicas.
    pub members: Arc<Members>,
    /// Its part of the endpoint's traffic.
    pub weight: u64,
}

/// The comparisons of an endpoint's applications, in the order of its pools.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparisons {
    applications: Vec<(Arc<str>, Comparison)>,
    /// Of the endpoint.
    pub limits: Limits,
}

impl Comparisons {
    /// Compare the replicas of each pool. `loads`: of an application, by its name; the rest as in `Situation`.
    #[must_use]
    pub fn new<'a>(
        pools: &[Pool],
        loads: impl Fn(&str) -> Option<&'a Loads>,
        before: Option<&Self>,
        hold: bool,
        now: f64,
    ) -> Self {
        let nothing = Loads::default();
        let compare = |pool: &Pool| {
            let loads = loads(&pool.application).unwrap_or(&nothing);
            let before = before.and_then(|before| before.of(&pool.application));
            let situation = Situation { loads, before, hold, now, weight: pool.weight };
            (Arc::clone(&pool.application), Comparison::new(&pool.application, &pool.members, situation))
        };
        let applications: Vec<_> = pools.iter().map(compare).collect();
        let limits = limits(&applications.iter().flat_map(|(_, each)| each.loads()).collect::<Vec<_>>());
        Self { applications, limits }
    }

    /// Return comparisons that a status shows, each with the name of its application.
    #[must_use]
    pub fn restored(applications: Vec<(String, Comparison)>) -> Self {
        let applications = applications.into_iter().map(|(name, comparison)| (name.into(), comparison)).collect();
        Self { applications, limits: Limits::default() }
    }

    /// Return that of an application; `None` if it had no traffic of the endpoint.
    #[must_use]
    pub fn of(&self, application: &str) -> Option<&Comparison> {
        self.applications.iter().find(|(name, _)| &**name == application).map(|(_, found)| found)
    }

    /// Return them in the order of the pools.
    pub fn iter(&self) -> impl Iterator<Item = &Comparison> {
        self.applications.iter().map(|(_, comparison)| comparison)
    }

    /// Return whether both have the same limits, and the same members in the same groups with the same weights, so that
    /// Envoy would see no difference.
    #[must_use]
    pub fn has_same_traffic(&self, other: &Self) -> bool {
        self.limits == other.limits
            && self.applications.len() == other.applications.len()
            && self.applications.iter().zip(&other.applications).all(|(a, b)| a.0 == b.0 && a.1.has_same_traffic(&b.1))
    }

    /// Return whether the replicas have the same room.
    #[must_use]
    pub fn has_same_rooms(&self, other: &Self) -> bool {
        self.iter().count() == other.iter().count()
            && self.iter().zip(other.iter()).all(|(mine, other)| mine.has_same_rooms(other))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Comparisons, Pool};
    use crate::comparison::{Member, Members};
    use crate::loads::Loads;
    use crate::reading::Reading;
    use crate::signals::Staleness;

    fn pool(application: &str, slots: u32, weight: u64) -> Pool {
        let member = Member { name: format!("{application}-0"), restarts: 0, slots, ready: true };
        let stale = Staleness { working: 3.0, idle: 5.0 };
        Pool { application: application.into(), members: Arc::new(Members::new(vec![member], stale)), weight }
    }

    fn compared(pools: &[Pool], loads: &Loads) -> Comparisons {
        Comparisons::new(pools, |name| (name == "b").then_some(loads), None, false, 100.0)
    }

    #[test]
    fn limits_count_the_slots_of_all_applications_and_each_has_its_own_load() {
        let reading = Reading { measured_at: 99.5, running: Some(1.0), ..Reading::default() };
        let loads = Loads::default().with("b-0", 0, reading);
        let found = compared(&[pool("a", 10, 1), pool("b", 20, 1)], &loads);
        assert_eq!(found.limits.requests, Some(8 * 30));
        assert_eq!(found.iter().map(|each| each.measured).collect::<Vec<_>>(), [false, true]);
        assert!(found.of("c").is_none());
    }

    #[test]
    fn other_limits_applications_or_weights_are_other_traffic() {
        let nothing = Loads::default();
        let found = |pools: &[Pool]| compared(pools, &nothing);
        let first = found(&[pool("a", 10, 1)]);
        assert!(first.has_same_traffic(&found(&[pool("a", 10, 1)])));
        assert!(!first.has_same_traffic(&found(&[pool("a", 10, 2)])));
        assert!(!first.has_same_traffic(&found(&[pool("a", 20, 1)])), "its limit is higher");
        assert!(!first.has_same_traffic(&found(&[pool("a", 10, 1), pool("b", 0, 1)])));
        let both = |a, b| found(&[pool(a, 10, 1), pool(b, 10, 1)]);
        assert!(!both("a", "b").has_same_traffic(&both("b", "a")));
    }
}
