//! All of this as a module for Python. `native.pyi` has its types and their meaning.
#![allow(clippy::needless_pass_by_value, reason = "arguments from Python are values")]

use std::collections::BTreeMap;
use std::sync::Arc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::assignment::{self, Address, Backend, Replica, Site};
use crate::comparison::Ranked;
use crate::comparisons::Pool;
use crate::limits::Limits;
use crate::reading::Reading;
use crate::signals::Evidence;
use crate::{comparison, comparisons, division, limits, loads, relief, report, signals, slots, speed, weights};

fn unit(name: &str) -> PyResult<signals::Unit> {
    match name {
        "tokens" => Ok(signals::Unit::Tokens),
        "requests" => Ok(signals::Unit::Requests),
        _ => Err(PyValueError::new_err(format!("no unit of work: {name}"))),
    }
}

#[pymethods]
impl Reading {
    #[new]
    #[pyo3(signature = (
        measured_at, running=None, waiting=None, drain_rate=None, token_rate=None, kv_usage=None, slots=0,
        tokens_total=None, finished_total=None, problem=String::new(), held=false
    ))]
    #[expect(clippy::too_many_arguments, reason = "a reading has so many fields")]
    fn new(
        measured_at: f64,
        running: Option<f64>,
        waiting: Option<f64>,
        drain_rate: Option<f64>,
        token_rate: Option<f64>,
        kv_usage: Option<f64>,
        slots: u32,
        tokens_total: Option<f64>,
        finished_total: Option<f64>,
        problem: String,
        held: bool,
    ) -> Self {
        Self {
            measured_at,
            running,
            waiting,
            drain_rate,
            token_rate,
            kv_usage,
            slots,
            tokens_total,
            finished_total,
            problem,
            held,
        }
    }

    #[getter(in_flight)]
    fn python_in_flight(&self) -> f64 {
        self.in_flight()
    }

    fn at(&self, measured_at: f64) -> Self {
        Self { measured_at, ..self.clone() }
    }

    fn __repr__(&self) -> String {
        format!("{self:?}")
    }
}

#[pyclass(frozen, eq, module = "arks.endpoint_router.domain.native")]
#[derive(Clone, PartialEq)]
struct Signals(signals::Signals);

#[pymethods]
impl Signals {
    #[new]
    #[pyo3(signature = (
        reading, *, updated_at, busy_at, busy_seconds, mean_waiting, mean_in_flight, tokens, requests, most_running
    ))]
    #[expect(clippy::too_many_arguments, reason = "signals have so many fields")]
    fn new(
        reading: &Reading,
        updated_at: f64,
        busy_at: f64,
        busy_seconds: f64,
        mean_waiting: f64,
        mean_in_flight: f64,
        tokens: (f64, f64, f64),
        requests: (f64, f64, f64),
        most_running: f64,
    ) -> Self {
        let work = |(seconds, slot_seconds, amount)| speed::Work { seconds, slot_seconds, amount };
        Self(signals::Signals {
            reading: reading.clone(),
            updated_at: Some(updated_at),
            busy_at,
            busy_seconds,
            mean_waiting,
            mean_in_flight,
            tokens: work(tokens),
            requests: work(requests),
            observed_slots: slots::ObservedSlots { most_running, full_at: None },
            ..signals::Signals::default()
        })
    }

    #[getter]
    fn reading(&self) -> Reading {
        self.0.reading.clone()
    }

    #[getter]
    fn updated_at(&self) -> Option<f64> {
        self.0.updated_at
    }

    #[getter]
    fn busy_seconds(&self) -> f64 {
        self.0.busy_seconds
    }

    #[getter]
    fn mean_waiting(&self) -> f64 {
        self.0.mean_waiting
    }

    #[getter]
    fn mean_in_flight(&self) -> f64 {
        self.0.mean_in_flight
    }

    fn speed(&self, name: &str) -> PyResult<Option<f64>> {
        Ok(self.0.speed(unit(name)?))
    }

    fn doubt(&self, now: f64, stale_seconds: f64, stale_idle_seconds: f64) -> Option<String> {
        let stale = signals::Staleness { working: stale_seconds, idle: stale_idle_seconds };
        self.0.doubt(now, stale).map(|doubt| doubt.to_string())
    }

    fn __repr__(&self) -> String {
        format!("{:?}", self.0)
    }
}

#[pyfunction]
#[pyo3(signature = (before, reading))]
fn observe(before: Option<&Signals>, reading: &Reading) -> Signals {
    Signals(signals::Signals::after(before.map(|before| &before.0), reading.clone()))
}

#[pyclass(frozen, module = "arks.endpoint_router.domain.native")]
struct Report(report::LoadReport);

#[pymethods]
impl Report {
    #[new]
    fn new(payload: &[u8]) -> PyResult<Self> {
        report::LoadReport::read(payload).map(Self).map_err(|error| PyValueError::new_err(error.to_string()))
    }

    #[getter]
    fn namespace(&self) -> &str {
        &self.0.namespace
    }

    #[getter]
    fn application(&self) -> &str {
        &self.0.application
    }

    #[getter]
    fn measured_at(&self) -> f64 {
        self.0.measured_at()
    }

    #[getter]
    fn page_versions(&self) -> Vec<String> {
        self.0.page_versions.clone()
    }

    #[getter]
    fn missing_signals(&self) -> Vec<String> {
        self.0.missing_signals.clone()
    }
}

#[pyclass(frozen, eq, module = "arks.endpoint_router.domain.native")]
#[derive(Clone, PartialEq)]
struct Loads(loads::Loads);

#[pymethods]
impl Loads {
    #[new]
    fn new() -> Self {
        Self(loads::Loads::default())
    }

    fn of(&self, replicas: Vec<(String, u32, u32)>) -> Self {
        let entry = |(name, restarts, port)| loads::Entry { name: String::into(name), restarts, port, signals: None };
        Self(self.0.of(replicas.into_iter().map(entry).collect()))
    }

    fn after(&self, report: &Report) -> Option<Self> {
        self.0.after(&report.0).map(Self)
    }

    fn has_pages_of(&self, report: &Report) -> bool {
        self.0.has_pages_of(&report.0)
    }

    #[getter]
    fn confirmed(&self) -> bool {
        self.0.confirmed
    }

    fn with_reading(&self, name: &str, restarts: u32, reading: &Reading) -> Self {
        Self(self.0.with(name, restarts, reading.clone()))
    }

    fn with_signals(&self, found: Vec<(String, u32, PyRef<'_, Signals>)>) -> Self {
        let entry = |(name, restarts, signals): (String, u32, PyRef<'_, Signals>)| loads::Entry {
            name: name.into(),
            restarts,
            port: 0,
            signals: Some(Arc::new(signals.0.clone())),
        };
        Self(self.0.of(found.into_iter().map(entry).collect()))
    }

    fn signals(&self, name: &str, restarts: u32) -> Option<Signals> {
        self.0.signals(name, restarts).map(|signals| Signals(signals.as_ref().clone()))
    }
}

#[pymethods]
impl Ranked {
    #[getter(member_weight)]
    fn python_member_weight(&self) -> u32 {
        self.member_weight()
    }
}

#[pymethods]
impl Evidence {
    fn speed(&self, name: &str) -> PyResult<Option<f64>> {
        Ok(match unit(name)? {
            signals::Unit::Tokens => self.tokens_per_slot,
            signals::Unit::Requests => self.requests_per_slot,
        })
    }
}

#[pyclass(frozen, eq, module = "arks.endpoint_router.domain.native")]
#[derive(PartialEq)]
struct Pools(Vec<Pool>);

/// Application, weight, members (name, restarts, slots, ready), and the ages from which their readings cannot be used.
type PoolParts = (String, u64, Vec<(String, u32, u32, bool)>, f64, f64);

#[pymethods]
impl Pools {
    #[new]
    fn new(pools: Vec<PoolParts>) -> Self {
        let member = |(name, restarts, slots, ready)| comparison::Member { name, restarts, slots, ready };
        let pool = |(application, weight, members, working, idle): PoolParts| {
            let members = members.into_iter().map(member).collect();
            let members = Arc::new(comparison::Members::new(members, signals::Staleness { working, idle }));
            Pool { application: application.into(), members, weight }
        };
        Self(pools.into_iter().map(pool).collect())
    }

    #[pyo3(signature = (loads, before, *, now, hold=false))]
    fn compare(
        &self,
        loads: &Bound<'_, PyDict>,
        before: Option<&Comparisons>,
        now: f64,
        hold: bool,
    ) -> PyResult<Comparisons> {
        let mut found = Vec::new();
        for pool in &self.0 {
            if let Some(known) = loads.get_item(&*pool.application)? {
                found.push((&*pool.application, known.cast_into::<Loads>()?));
            }
        }
        let of = |name: &str| found.iter().find(|(known, _)| *known == name).map(|(_, loads)| &loads.get().0);
        let before = before.map(|before| &before.0);
        Ok(Comparisons(comparisons::Comparisons::new(&self.0, of, before, hold, now)))
    }
}

#[pyclass(frozen, eq, module = "arks.endpoint_router.domain.native")]
#[derive(PartialEq)]
struct Comparisons(comparisons::Comparisons);

/// An application, and of its replicas the name, restarts, group and share.
type Restored = (String, Vec<(String, u32, String, f64)>);

type Standing = (Option<usize>, Option<Evidence>, Option<String>);

#[pymethods]
impl Comparisons {
    #[staticmethod]
    fn restored(applications: Vec<Restored>) -> Self {
        let restored = |(name, replicas): Restored| (name, comparison::Comparison::restored(replicas));
        Self(comparisons::Comparisons::restored(applications.into_iter().map(restored).collect()))
    }

    #[getter]
    fn groups(&self) -> Vec<Vec<Ranked>> {
        self.0.iter().map(|comparison| comparison.groups.clone()).collect()
    }

    #[getter]
    fn members(&self) -> Vec<Vec<Standing>> {
        let standing = |standing: &comparison::Standing| {
            let doubt = standing.doubt.as_ref().map(ToString::to_string);
            (standing.group, standing.signals.as_deref().map(Evidence::from), doubt)
        };
        self.0.iter().map(|comparison| comparison.standings.iter().map(standing).collect()).collect()
    }

    #[getter]
    fn limits(&self) -> Limits {
        self.0.limits
    }

    #[getter]
    fn measured(&self) -> bool {
        self.0.iter().any(|comparison| comparison.measured)
    }

    #[getter]
    fn held(&self) -> bool {
        self.0.iter().any(|comparison| comparison.held)
    }

    fn has_same_rooms(&self, other: &Self) -> bool {
        self.0.has_same_rooms(&other.0)
    }

    fn load_assignment<'py>(&self, py: Python<'py>, cluster: &str, sites: &Sites) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &assignment::endpoint_assignment(cluster, &sites.sites, &self.0, sites.affinity))
    }

    fn has_same_traffic(&self, other: &Self) -> bool {
        self.0.has_same_traffic(&other.0)
    }
}

#[pyclass(frozen, module = "arks.endpoint_router.domain.native")]
struct Sites {
    sites: Vec<Site>,
    affinity: bool,
}

/// An application, and of its replicas the address and whether it drains.
type SiteParts = (String, Vec<(String, u32, bool)>);

#[pymethods]
impl Sites {
    #[new]
    #[pyo3(signature = (sites, *, affinity=false))]
    fn new(sites: Vec<SiteParts>, affinity: bool) -> Self {
        let replica = |(host, port, draining)| Replica { address: Address::new(host, port), draining };
        let site = |(application, replicas): SiteParts| {
            let replicas = replicas.into_iter().map(replica).collect();
            Site { application, replicas }
        };
        Self { sites: sites.into_iter().map(site).collect(), affinity }
    }
}

/// Host, port, weight, whether it drains, group, room, and the seconds after which a rejected client may return.
type BackendParts = (String, u32, u32, bool, String, u32, u32);

#[pyfunction]
fn load_assignment<'py>(
    py: Python<'py>,
    cluster: &str,
    backends: Vec<BackendParts>,
    weights: BTreeMap<String, u32>,
) -> Bound<'py, PyBytes> {
    let addresses: Vec<_> = backends.iter().map(|(host, port, ..)| Address::new(host.clone(), *port)).collect();
    let parts = backends.iter().zip(&addresses).map(|(parts, address)| {
        let (_, _, weight, draining, group, room, seconds) = parts;
        Backend { address, weight: *weight, draining: *draining, group, room: *room, retry_after_seconds: *seconds }
    });
    PyBytes::new(py, &assignment::load_assignment(cluster, parts, |name| weights.get(name).copied()))
}

#[pymethods]
impl Limits {
    #[new]
    #[pyo3(signature = (requests=None, retry_percent=None, retry_after_seconds=None))]
    fn new(requests: Option<u64>, retry_percent: Option<u32>, retry_after_seconds: Option<u32>) -> Self {
        let none = Self::default();
        Self {
            requests,
            retry_percent: retry_percent.unwrap_or(none.retry_percent),
            retry_after_seconds: retry_after_seconds.unwrap_or(none.retry_after_seconds),
        }
    }

    fn __repr__(&self) -> String {
        format!("Limits({:?}, {}, {})", self.requests, self.retry_percent, self.retry_after_seconds)
    }
}

#[pyfunction]
#[pyo3(name = "limits")]
fn limits_for(replicas: Vec<(u32, f64, Option<f64>)>) -> Limits {
    let load = |(slots, waiting, drain_rate)| limits::Load { slots, waiting, drain_rate };
    let loads: Vec<_> = replicas.into_iter().map(load).collect();
    limits::limits(&loads)
}

#[pyfunction]
#[pyo3(signature = (groups, utilisation))]
fn divide(groups: Vec<(f64, f64)>, utilisation: f64) -> Vec<f64> {
    let capacity = |(slots, speed)| division::Capacity { slots, speed, probe: division::PROBE_PART };
    division::divide(&groups.into_iter().map(capacity).collect::<Vec<_>>(), utilisation)
}

#[pyfunction]
fn relieve(parts: Vec<(f64, f64, f64, f64)>, utilisation: f64, arrivals: f64) -> Vec<f64> {
    let part = |(share, proportion, waiting, free)| relief::Part { share, proportion, waiting, free };
    relief::relieve(&parts.into_iter().map(part).collect::<Vec<_>>(), utilisation, arrivals)
}

#[pyfunction]
fn apportion(shares: Vec<f64>, total: u64) -> Vec<u64> {
    weights::apportion(&shares, total)
}

#[pymodule(gil_used = true)]
mod native {
    #[pymodule_export]
    use super::{
        Comparisons, Evidence, Limits, Loads, Pools, Ranked, Reading, Report, Signals, Sites, apportion, divide,
        limits_for, load_assignment, observe, relieve,
    };

    #[pymodule_export]
    const METADATA: &str = crate::assignment::METADATA;
    #[pymodule_export]
    const RETRY_AFTER: &str = crate::assignment::RETRY_AFTER;
    #[pymodule_export]
    const FORGET_SECONDS: f64 = crate::signals::FORGET_SECONDS;
    #[pymodule_export]
    const WARM_UP_SECONDS: f64 = crate::signals::WARM_UP_SECONDS;
    #[pymodule_export]
    const PROBE_PART: f64 = crate::division::PROBE_PART;
    #[pymodule_export]
    const LEAST_REQUESTS: u64 = crate::limits::LEAST_REQUESTS;
    #[pymodule_export]
    const RETRY_AFTER_STEPS: [u32; 7] = crate::limits::RETRY_AFTER_STEPS;
}
