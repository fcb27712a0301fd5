"""Prometheus metrics of replicas and engines."""

import contextlib
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from arks.app_deployer.domain.start_phases import PHASES, StartPhases
from arks.app_deployer.domain.workload import ObservedWorkload
from arks.contracts.resources import InstanceState
from arks.kit.key import Key

_START_BUCKETS = (0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800)


class EngineMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ["namespace", "application"]
        self._restarts = Counter(
            "arks_engine_restarts", "Engines that ended and were started again", labels, registry=registry
        )
        self._stuck = Counter(
            "arks_engine_stuck", "Engines that were ended because they made no step", labels, registry=registry
        )
        self._start = Histogram(
            "arks_engine_start_seconds",
            "From the start of an engine until its model has answered",
            registry=registry,
            buckets=_START_BUCKETS,
        )
        self._phases = Histogram(
            "arks_engine_start_phase_seconds",
            "Of arks_engine_start_seconds: prepare (volumes, network), image, read-ahead, load until the engine's "
            "server answers, warm-up until its first token",
            ["phase"],
            registry=registry,
            buckets=_START_BUCKETS,
        )
        for phase in PHASES:  # a series that begins at 1 shows no increase
            self._phases.labels(phase)

    def restarted(self, key: Key) -> None:
        self._restarts.labels(key.namespace, key.name).inc()

    def stuck(self, key: Key) -> None:
        self._stuck.labels(key.namespace, key.name).inc()

    def started(self, phases: StartPhases) -> None:
        self._start.observe(phases.seconds)
        for phase, seconds in phases.items():
            self._phases.labels(phase).observe(seconds)

    def forget(self, key: Key) -> None:
        for counter in (self._restarts, self._stuck):
            with contextlib.suppress(KeyError):  # it never happened
                counter.remove(key.namespace, key.name)


class ReplicaGauges(Collector):
    """Counts replicas by state at each scrape."""

    def __init__(self, observed: Callable[[], Iterable[tuple[Key, ObservedWorkload]]]) -> None:
        self._observed = observed

    def collect(self) -> Iterator[GaugeMetricFamily]:
        family = GaugeMetricFamily("arks_replicas", "Replicas by state", labels=["namespace", "application", "state"])
        for key, observed in self._observed():
            for state in InstanceState:
                family.add_metric([key.namespace, key.name, state.value], len(observed.of(state)))
        yield family
