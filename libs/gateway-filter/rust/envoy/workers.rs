//! The state of each of Envoy's worker threads, and the time.

use std::cell::RefCell;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use super::renewals::Renewals;
use super::stream::Stream;
use crate::admission::{Identity, Worker};
use crate::held_bytes::HeldBytes;
use crate::rejections::Reply;
use crate::sampling::Sampling;

/// The configuration of a filter, which its streams share.
pub struct Config {
    /// Which of the module's filters this is.
    pub kind: Kind,
    /// Counts calls of hooks that failed.
    pub faults: usize,
    /// Sends renewals.
    pub renewals: Renewals,
    /// Long bodies of all workers; a listener that is replaced has its own.
    pub held_bytes: HeldBytes,
    /// What clients may do.
    pub limits: Limits,
    starts_path: PathBuf,
    identity: Identity,
}

/// What clients may do; 0: no limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// Wrong keys from one address in a second, per worker.
    pub failures_per_second: u32,
    /// Bytes of long bodies at once.
    pub long_body_bytes: u64,
}

impl Limits {
    /// Reads `<failures> <bytes>`.
    fn read(text: &str) -> Option<Self> {
        let (failures, bytes) = text.split_once(' ')?;
        Some(Self { failures_per_second: failures.parse().ok()?, long_body_bytes: bytes.parse().ok()? })
    }
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
        /// The module writes the usage log; otherwise Envoy's own logger does.
        logs: bool,
    },
    /// Makes streams of requests for JSON, behind the router.
    Join,
}

impl Config {
    /// Reads a configuration: the filter's name, and the path of the starts file. Before it, a guarded filter has a line
    /// with its limits, and then a traced filter one with its sampling. `None` if there is no such filter.
    ///
    /// The name changes with the form, so that an Envoy with an older library refuses what it would misread.
    #[must_use]
    pub fn read(name: &[u8], config: &[u8], faults: usize, renewals: impl FnOnce(PathBuf) -> Renewals) -> Option<Self> {
        let config = std::str::from_utf8(config).ok()?;
        let (name, limits, config) = match name.strip_prefix(b"guarded-") {
            None => (name, Limits::default(), config), // of a router before this version
            Some(name) => {
                let (limits, config) = config.split_once('\n')?;
                (name, Limits::read(limits)?, config)
            }
        };
        let (name, logs) = match name.strip_prefix(b"logging-") {
            None => (name, false), // likewise
            Some(name) => (name, true),
        };
        let (kind, starts_path) = match name {
            b"join" => (Kind::Join, config),
            b"key" => (Kind::Key, config),
            b"admission" => (Kind::Admission { sampling: None, logs }, config),
            b"traced-admission" => {
                let (sampling, path) = config.split_once('\n')?;
                (Kind::Admission { sampling: Some(Sampling::read(sampling)?), logs }, path)
            }
            _ => return None,
        };
        let identity = Identity {
            gateway: std::env::var("ARKS_GATEWAY").unwrap_or_else(|_| "gateway".to_owned()),
            token: std::env::var("ARKS_GATEWAY_TOKEN").ok().filter(|token| !token.is_empty()),
        };
        let starts_path = PathBuf::from(starts_path);
        let (renewals, held_bytes) = (renewals(starts_path.clone()), HeldBytes::default());
        Some(Self { kind, faults, renewals, held_bytes, limits, starts_path, identity })
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
                let worker = self.worker();
                workers.push((self.starts_path.clone(), worker));
                workers.len() - 1
            });
            act(&mut workers[at].1)
        })
    }

    /// Counts the failure of a client whose key token-quota rejects with this reply.
    pub fn count_failure(&self, stream: &Stream, reply: &Reply) {
        if reply.status == 401 && self.limits.failures_per_second > 0 {
            let network = stream.client_network();
            self.with_worker(|worker| worker.add_failure(network, now()));
        }
    }

    fn worker(&self) -> Worker {
        Worker::new(self.identity.clone(), self.starts_path.clone(), self.limits.failures_per_second)
    }
}

/// Milliseconds since the epoch.
#[must_use]
pub fn now() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_millis()).unwrap_or_default()
}
