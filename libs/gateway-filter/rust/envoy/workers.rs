//! The state of each of Envoy's worker threads, and the time.

use std::cell::RefCell;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::admission::{Identity, Worker};

/// The configuration of a filter, which its streams share.
pub struct Config {
    /// Which of the module's filters this is.
    pub kind: Kind,
    /// Counts calls of hooks that failed.
    pub faults: usize,
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
        /// Whether spans of requests are exported.
        is_traced: bool,
    },
}

impl Config {
    /// Reads a configuration: the filter's name, and the path of the starts file. None if there is no such filter.
    #[must_use]
    pub fn read(name: &[u8], starts_path: &[u8], faults: usize) -> Option<Self> {
        let kind = match name {
            b"key" => Kind::Key,
            b"admission" => Kind::Admission { is_traced: false },
            b"traced-admission" => Kind::Admission { is_traced: true },
            _ => return None,
        };
        let identity = Identity {
            gateway: std::env::var("ARKS_GATEWAY").unwrap_or_else(|_| "gateway".to_owned()),
            token: std::env::var("ARKS_GATEWAY_TOKEN").ok().filter(|token| !token.is_empty()),
        };
        let starts_path = PathBuf::from(std::str::from_utf8(starts_path).ok()?);
        Some(Self { kind, faults, starts_path, identity })
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
