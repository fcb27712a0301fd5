"""Reports onto the bus."""

from collections.abc import Mapping
from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp
from prometheus_client import CollectorRegistry, Counter

from arks.events.v1.load_pb2 import LoadReport, ReplicaLoad
from arks.kit.bus import Bus
from arks.kit.clock import Clock
from arks.kit.reconcile import Key
from arks.metrics.domain.gpus import GpuUse
from arks.metrics.domain.readings import Reading, Replica, Said, slot_usage


class NatsReports:
    """One LoadReport an application and tick, on core NATS."""

    def __init__(self, bus: Bus, clock: Clock, registry: CollectorRegistry) -> None:
        self._bus = bus
        self._clock = clock
        self._published = Counter("arks_metrics_reports", "Load reports handed to NATS", registry=registry)

    async def publish(self, key: Key, said: Mapping[Replica, Said]) -> None:
        await self._bus.publish_load(report_of(key, said, self._clock.now()))
        self._published.inc()


def report_of(key: Key, said: Mapping[Replica, Said], now: datetime) -> LoadReport:
    """What everybody may know of an application: signals where there is no problem, a problem where there is one."""
    report = LoadReport(namespace=key.namespace, application=key.name, measured_at=_timestamp(now))
    for replica, its in said.items():
        load = report.replicas.add(name=replica.name, host=replica.host, port=replica.port, problem=its.problem)
        if replica.slots:
            load.slots = replica.slots
        _fill_gpu(load, its.gpu)
        if its.reading is not None:
            load.measured_at.CopyFrom(_timestamp(its.reading.measured_at))
            if not its.problem:
                _fill(load, its.reading, replica.slots)
    return report


def _fill(load: ReplicaLoad, reading: Reading, slots: int) -> None:
    snapshot, rates = reading.snapshot, reading.rates
    for name, value in (
        ("running_requests", snapshot.running_requests),
        ("waiting_requests", snapshot.waiting_requests),
        ("kv_cache_usage_ratio", slot_usage(snapshot, slots)),
        ("prompt_tokens_per_second", rates.prompt_tokens_per_second),
        ("generation_tokens_per_second", rates.generation_tokens_per_second),
        ("drain_rate_per_second", rates.drain_rate_per_second),
    ):
        if value is not None:
            setattr(load, name, value)


def _fill_gpu(load: ReplicaLoad, use: GpuUse | None) -> None:
    """Also of a replica with a problem: a busy GPU behind a silent engine is worth knowing."""
    if use is not None and use.utilization_ratio is not None:
        load.gpu_utilization_ratio = use.utilization_ratio
    if use is not None and use.memory_used_bytes is not None:
        load.gpu_memory_used_bytes = use.memory_used_bytes


def _timestamp(moment: datetime) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromDatetime(moment)
    return timestamp
