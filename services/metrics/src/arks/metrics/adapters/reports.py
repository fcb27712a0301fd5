"""Publish load reports on NATS, and read those of other replicas of metrics."""

from collections.abc import Mapping
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp
from prometheus_client import CollectorRegistry, Counter

from arks.contracts.load import STUCK_SECONDS, set_signal, signal
from arks.contracts.subjects import load_subject, stage_load_subject, stuck_subject
from arks.events.v1.load_pb2 import LoadReport, ReplicaLoad
from arks.kit.bus import Bus
from arks.kit.clock import Clock
from arks.kit.key import Key
from arks.metrics.domain.engines import Snapshot
from arks.metrics.domain.gpus import GpuUse
from arks.metrics.domain.rates import Rates
from arks.metrics.domain.replicas import Reading, Replica, ReplicaReport


class NatsReports:
    """One LoadReport per application and tick on core NATS. Without NATS it is dropped: later it would be worthless."""

    def __init__(self, bus: Bus, clock: Clock, registry: CollectorRegistry) -> None:
        self._bus = bus
        self._clock = clock
        self._published = Counter("arks_metrics_reports", "Load reports handed to NATS", registry=registry)

    async def publish(self, key: Key, replicas: Mapping[Replica, ReplicaReport]) -> None:
        report = load_report(key, replicas, self._clock.now())
        payload = report.SerializeToString()
        await self._bus.publish(subject_of(key), payload)
        if any(replica.stalled_seconds >= STUCK_SECONDS for replica in replicas.values()):
            await self._bus.publish(stuck_subject(key.namespace, key.name), payload)
        self._published.inc()


def subject_of(key: Key) -> str:
    """Of the load reports of an application, or of a stage's engines."""
    application, _, stage = key.name.partition("/")
    if stage:
        return stage_load_subject(key.namespace, application, stage)
    return load_subject(key.namespace, application)


def load_report(key: Key, replicas: Mapping[Replica, ReplicaReport], now: datetime) -> LoadReport:
    """The message: engine signals of replicas without a problem, the problem of the others."""
    message = LoadReport(namespace=key.namespace, application=key.name, measured_at=_timestamp(now))
    for replica, report in replicas.items():
        load = message.replicas.add(name=replica.name, host=replica.host, port=replica.port, problem=report.problem)
        load.stalled_seconds = report.stalled_seconds
        load.held = report.held
        load.restarts = replica.restarts
        if replica.slots:
            load.slots = replica.slots
        _fill_gpu(load, report.gpu)
        if report.reading is not None:
            load.measured_at.CopyFrom(_timestamp(report.reading.measured_at))
            if not report.problem:
                _fill(load, report.reading)
    message.page_versions.extend(sorted({report.version for report in replicas.values() if report.version}))
    message.missing_signals.extend(sorted({name for report in replicas.values() for name in report.missing}))
    return message


def _fill(load: ReplicaLoad, reading: Reading) -> None:
    snapshot, rates = reading.snapshot, reading.rates
    set_signal(load, "running_requests", snapshot.running_requests)
    set_signal(load, "waiting_requests", snapshot.waiting_requests)
    set_signal(load, "kv_cache_usage_ratio", snapshot.kv_cache_usage_ratio)
    set_signal(load, "prompt_tokens_per_second", rates.prompt_tokens_per_second)
    set_signal(load, "generation_tokens_per_second", rates.generation_tokens_per_second)
    set_signal(load, "drain_rate_per_second", rates.drain_rate_per_second)
    set_signal(load, "generation_tokens_total", snapshot.generation_tokens)
    set_signal(load, "finished_requests_total", snapshot.finished_requests)
    set_signal(load, "prompt_tokens_total", snapshot.prompt_tokens)


def replica_reports(message: LoadReport) -> dict[Replica, ReplicaReport]:
    """What autoscalers need of a report: signals, counters and problems."""
    return {
        Replica(load.name, load.host, load.port, load.slots, load.restarts): ReplicaReport(
            _reading(load) if load.HasField("measured_at") else None, load.problem, held=load.held
        )
        for load in message.replicas
    }


def _reading(load: ReplicaLoad) -> Reading:
    snapshot = Snapshot(
        running_requests=signal(load, "running_requests"),
        waiting_requests=signal(load, "waiting_requests"),
        kv_cache_usage_ratio=signal(load, "kv_cache_usage_ratio"),
        prompt_tokens=signal(load, "prompt_tokens_total"),
        generation_tokens=signal(load, "generation_tokens_total"),
        finished_requests=signal(load, "finished_requests_total"),
    )
    rates = Rates(
        prompt_tokens_per_second=signal(load, "prompt_tokens_per_second"),
        generation_tokens_per_second=signal(load, "generation_tokens_per_second"),
        drain_rate_per_second=signal(load, "drain_rate_per_second"),
    )
    return Reading(snapshot, rates, load.measured_at.ToDatetime(UTC), read_seconds=0.0)


def _fill_gpu(load: ReplicaLoad, use: GpuUse | None) -> None:
    """Set GPU signals, for a replica with a problem too: a busy GPU behind a silent engine is worth knowing."""
    if use is not None:
        set_signal(load, "gpu_utilization_ratio", use.utilization_ratio)
        set_signal(load, "gpu_memory_used_bytes", use.memory_used_bytes)


def _timestamp(moment: datetime) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromDatetime(moment)
    return timestamp
