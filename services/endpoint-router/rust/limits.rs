//! How many requests of an endpoint may be in flight at once, how many of them may be retries, and when to come back.
//!
//! An engine accepts requests without end, and a client of a queue of minutes has long hung up when its turn comes. So a
//! gateway rejects requests beyond some rounds of the replicas' slots at once. Each gateway counts its own requests.

/// Requests that may wait for each slot: the last one begins after about seven times what one request takes.
const QUEUE_PER_SLOT: u64 = 7;
/// Few slots do not make a burst of short requests an overload.
pub const LEAST_REQUESTS: u64 = 64;
/// Below this part of the room for waiting requests nothing is rejected, and the queue's time does not matter.
const QUEUED_PART: f64 = 0.5;
/// Seconds. Coarse, so that Envoy gets few changes; `OpenAI`'s clients ignore more than a minute.
pub const RETRY_AFTER_STEPS: [u32; 7] = [1, 2, 5, 10, 20, 30, 60];
/// Where no replica's drain rate is known.
const UNKNOWN_DRAIN_SECONDS: f64 = 5.0;
/// Retries, as a part of the requests in flight at one gateway.
pub const RETRY_PERCENTS: [u32; 3] = [25, 50, 100];
const RETRY_HEADROOM: f64 = 1.25;

/// The limits of one endpoint.
#[cfg_attr(feature = "python", pyo3::pyclass(frozen, get_all, eq, hash, module = "arks.endpoint_router.domain.native"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// In flight at one gateway; `None`: no limit, because slots are unknown.
    pub requests: Option<u64>,
    /// Retries, as a part of the requests in flight at one gateway.
    pub retry_percent: u32,
    /// For a client whose request is rejected.
    pub retry_after_seconds: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { requests: None, retry_percent: RETRY_PERCENTS[2], retry_after_seconds: RETRY_AFTER_STEPS[0] }
    }
}

/// One replica that gets traffic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// 0 if unknown.
    pub slots: u32,
    /// Requests.
    pub waiting: f64,
    /// Requests a second; `None` if unknown.
    pub drain_rate: Option<f64>,
}

/// Return the limits of an endpoint with these replicas.
#[must_use]
pub fn limits(replicas: &[Load]) -> Limits {
    let slots: u64 = replicas.iter().map(|replica| u64::from(replica.slots)).sum();
    let known = !replicas.is_empty() && replicas.iter().all(|replica| replica.slots > 0);
    let retry_percent = retry_percent(replicas.iter().map(|replica| if known { replica.slots } else { 1 }));
    if !known {
        return Limits { retry_percent, ..Limits::default() };
    }
    let requests = LEAST_REQUESTS.max((1 + QUEUE_PER_SLOT) * slots);
    let retry_after_seconds = retry_after(replicas, (requests - slots) as f64);
    Limits { requests: Some(requests), retry_percent, retry_after_seconds }
}

/// Return what the loss of the largest replica needs: its requests, as a part of those at the others.
///
/// A limit by number would either fail requests that a dead replica has lost, or let every request of an endpoint whose
/// replicas all fail meet four of them.
fn retry_percent(sizes: impl Iterator<Item = u32>) -> u32 {
    let (count, sum, largest) = sizes.fold((0, 0_u64, 0), |(count, sum, largest), size| {
        (count + 1, sum + u64::from(size), largest.max(u64::from(size)))
    });
    if count < 2 {
        return RETRY_PERCENTS[2];
    }
    step(&RETRY_PERCENTS, 100.0 * RETRY_HEADROOM * largest as f64 / (sum - largest) as f64)
}

/// Return how long the present queue takes, in seconds. `room`: for requests that wait.
fn retry_after(replicas: &[Load], room: f64) -> u32 {
    let waiting: f64 = replicas.iter().map(|replica| replica.waiting).sum();
    if waiting < QUEUED_PART * room {
        return RETRY_AFTER_STEPS[0];
    }
    let drain: f64 = replicas.iter().filter_map(|replica| replica.drain_rate).sum();
    step(&RETRY_AFTER_STEPS, if drain > 0.0 { waiting / drain } else { UNKNOWN_DRAIN_SECONDS })
}

/// Return the first step that is enough, or the last one.
fn step<const N: usize>(steps: &[u32; N], wanted: f64) -> u32 {
    steps.iter().copied().find(|step| f64::from(*step) >= wanted).unwrap_or(steps[N - 1])
}
