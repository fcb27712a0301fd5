//! The state of each of Envoy's worker threads, and the time.

use std::cell::RefCell;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use super::renewals::Renewals;
use crate::admission::{Identity, Worker};
use crate::sampling::Sampling;

/// The configuration of a filter, which its streams share.
pub struct Config {
    /// Which of the module's filters this is.
    pub kind: Kind,
    /// Counts calls of hooks that failed.
    pub faults: usize,
    /// Sends renewals.
    pub renewals: Renewals,
    starts_path: PathBuf,
    identity: Identity,
}

/// The filters of the module.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Checks the key before a long body is read.
    Key,
    /// Admits and meters requests.
    Admission {
        /// Which requests' spans are exported; `None`: there is no tracer.
        sampling: Option<Sampling>,
    },
}

impl Config {
    /// Reads a configuration: the filter's name, and the path of the starts file, before which a traced filter has a line
    /// with its sampling. `None` if there is no such filter.
    #[must_use]
    pub fn read(name: &[u8], config: &[u8], faults: usize, renewals: impl FnOnce(PathBuf) -> Renewals) -> Option<Self> {
        let config = std::str::from_utf8(config).ok()?;
        let (kind, starts_path) = match name {
            b"key" => (Kind::Key, config),
            b"admission" => (Kind::Admission { sampling: None }, config),
            b"traced-admission" => {
                let (sampling, path) = config.split_once('\n')?;
                (Kind::Admission { sampling: Some(Sampling::read(sampling)?) }, path)
            }
            _ => return None,
        };
        let identity = Identity {
            gateway: std::env::var("ARKS_GATEWAY").unwrap_or_else(|_| "gateway".to_owned()),
            token: std::env::var("ARKS_GATEWAY_TOKEN").ok().filter(|token| !token.is_empty()),
        };
        let starts_path = PathBuf::from(starts_path);
        Some(Self { kind, faults, renewals: renewals(starts_path.clone()), starts_path, identity })
    }

    /// Runs `act` with the state of this thread, which all configurations with the same starts file share: it outlives a
    /// listener that is replaced.
    pub fn with_worker<Result>(&self, act: impl FnOnce(&mut Worker) -> Result) -> Result {
        thread_local! {
            static WORKERS: RefCell<Vec<(PathBuf, Worker)>> = const { RefCell::new(Vec::new()) };
        }
        WORKERS.with_borrow_mut(|workers| {
            let known = workers.iter().position(|(path, _)| *path == self.starts_path);
            let at = known.unwrap_or_else(|| {
                let worker = Worker::new(self.identity.clone(), self.starts_path.clone());
                workers.push((self.starts_path.clone(), worker));
                workers.len() - 1
            });
            act(&mut workers[at].1)
        })
    }
}

/// Milliseconds since the epoch.
#[must_use]
pub fn now() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_millis()).unwrap_or_default()
}
