//! One measurement of a replica, which measurements are plausible, and why one cannot be used.

use std::fmt;

/// What no engine reports: so many requests at once.
pub const MOST_REQUESTS: f64 = 1e6;
/// What no engine reports: so much work in a second.
pub const MOST_A_SECOND: f64 = 1e9;
/// What no engine reports: so much work since its start.
pub const MOST_COUNTED: f64 = 1e18;
/// What no engine reports: more than the whole cache, beyond rounding.
pub const MOST_KV_USAGE: f64 = 1.05;

/// One measurement. `None`: the engine does not report the value, which is not the same as 0.
#[cfg_attr(feature = "python", pyo3::pyclass(frozen, get_all, eq, module = "arks.endpoint_router.domain.native"))]
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// Seconds since the epoch.
    pub measured_at: f64,
    /// Requests.
    pub running: Option<f64>,
    /// Requests.
    pub waiting: Option<f64>,
    /// Finished requests a second, over busy time.
    pub drain_rate: Option<f64>,
    /// Generated tokens a second.
    pub token_rate: Option<f64>,
    /// 0 to 1.
    pub kv_usage: Option<f64>,
    /// 0 if unknown.
    pub slots: u32,
    /// Generated tokens since the engine's start.
    pub tokens_total: Option<f64>,
    /// Finished requests since the engine's start.
    pub finished_total: Option<f64>,
    /// Why there are no numbers; empty without a problem.
    pub problem: String,
    /// The engine has finished, and `running` is what it was before: no work, and no time that work took.
    pub held: bool,
}

impl Reading {
    /// Return whether the replica has nothing to do.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.in_flight() == 0.0
    }

    /// Return the requests at the replica.
    #[must_use]
    pub fn in_flight(&self) -> f64 {
        self.running.unwrap_or(0.0) + self.waiting.unwrap_or(0.0)
    }

    /// Return the requests that it works on.
    #[must_use]
    pub fn working(&self) -> f64 {
        if self.held { 0.0 } else { self.running.unwrap_or(0.0) }
    }

    /// Return what moves while the engine works.
    #[must_use]
    pub fn numbers(&self) -> [Option<f64>; 4] {
        [self.running, self.waiting, self.tokens_total, self.finished_total]
    }

    /// Return why these numbers cannot be true, or carry no information; `None` if they are plausible.
    #[must_use]
    pub fn implausible(&self) -> Option<Doubt> {
        if self.running.is_none() && self.waiting.is_none() {
            return Some(Doubt::Empty);
        }
        [
            ("running", self.running, MOST_REQUESTS),
            ("waiting", self.waiting, MOST_REQUESTS),
            ("drain rate", self.drain_rate, MOST_A_SECOND),
            ("token rate", self.token_rate, MOST_A_SECOND),
            ("generated tokens", self.tokens_total, MOST_COUNTED),
            ("finished requests", self.finished_total, MOST_COUNTED),
            ("KV-cache use", self.kv_usage, MOST_KV_USAGE),
        ]
        .into_iter()
        .find_map(|(name, value, limit)| {
            let value = value?;
            (!(0.0..=limit).contains(&value)).then_some(Doubt::Implausible(name, value))
        })
    }
}

/// Why a reading cannot be used. Its text is for users.
#[derive(Clone, Debug, PartialEq)]
pub enum Doubt {
    /// There is no reading.
    Missing,
    /// metrics could not read the engine's page.
    Problem(String),
    /// The page has neither running nor waiting requests.
    Empty,
    /// A number that cannot be true, with its name.
    Implausible(&'static str, f64),
    /// It is so many seconds old.
    Old(f64),
    /// It is from so many seconds in the future.
    Future(f64),
    /// Its numbers have been the same for so many seconds although requests run.
    Frozen(f64),
}

impl fmt::Display for Doubt {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => write!(to, "no load was reported"),
            Self::Problem(problem) => write!(to, "metrics could not read it: {problem}"),
            Self::Empty => write!(to, "its engine reports neither running nor waiting requests"),
            Self::Implausible(name, value) if value.is_nan() => write!(to, "its engine reports {name} = nan"),
            Self::Implausible(name, value) => write!(to, "its engine reports {name} = {value:?}"),
            Self::Old(seconds) => write!(to, "its last load report is {seconds:.0} s old"),
            Self::Future(seconds) => write!(to, "its load report is from {seconds:.0} s in the future"),
            Self::Frozen(seconds) => write!(to, "its numbers have not changed for {seconds:.0} s"),
        }
    }
}
