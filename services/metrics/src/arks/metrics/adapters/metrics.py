"""Prometheus gauges of replicas and GPUs."""

from collections.abc import Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector as PrometheusCollector

from arks.kit.clock import Clock
from arks.metrics.domain.members import Members
from arks.metrics.domain.replicas import ReplicaReport
from arks.metrics.service.collector import Collector
from arks.metrics.service.gpus import GpuWatch

_LABELS = ("namespace", "application", "replica")


class ReplicaGauges(PrometheusCollector):
    """The newest reading of each replica, under the same names for every engine. Deleted replicas are not listed."""

    def __init__(self, collector: Collector, clock: Clock) -> None:
        self._collector = collector
        self._clock = clock

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        gauges = {
            name: GaugeMetricFamily(f"arks_replica_{name}", text, labels=_LABELS) for name, text in _GAUGES.items()
        }
        errors = CounterMetricFamily("arks_replica_read_errors", "Readings that failed", labels=_LABELS)
        for watch in self._collector.watches():
            for replica, report in watch.reports().items():
                labels = (watch.key.namespace, watch.key.name, replica.name)
                for name, value in self._values(report).items():
                    gauges[name].add_metric(labels, value)
            for replica, count in watch.failures().items():
                errors.add_metric((watch.key.namespace, watch.key.name, replica.name), count)
        yield from gauges.values()
        yield errors

    def _values(self, report: ReplicaReport) -> dict[str, float]:
        values: dict[str, float | None] = {"problem": float(bool(report.problem))}
        if report.reading is not None:
            values["reading_age_seconds"] = (self._clock.now() - report.reading.measured_at).total_seconds()
            values["read_seconds"] = report.reading.read_seconds
        if report.reading is not None and not report.problem:
            snapshot, rates = report.reading.snapshot, report.reading.rates
            values |= {
                "running_requests": snapshot.running_requests,
                "waiting_requests": snapshot.waiting_requests,
                "kv_cache_usage_ratio": snapshot.kv_cache_usage_ratio,
                "prompt_tokens_per_second": rates.prompt_tokens_per_second,
                "generation_tokens_per_second": rates.generation_tokens_per_second,
                "drain_rate_per_second": rates.drain_rate_per_second,
            }
        return {name: value for name, value in values.items() if value is not None}


class MemberGauges(PrometheusCollector):
    """How the replicas of metrics divide the engines, as this one sees it."""

    def __init__(self, members: Members, collector: Collector) -> None:
        self._members = members
        self._collector = collector

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        read = list(self._collector.watches())
        values = {
            "arks_metrics_members": ("Replicas of metrics that divide the engines", len(self._members.names)),
            "arks_metrics_applications_read": ("Applications and stages that this one reads", len(read)),
            "arks_metrics_replicas_read": ("Engines that this one reads", sum(watch.size for watch in read)),
        }
        for name, (text, value) in values.items():
            yield GaugeMetricFamily(name, text, value=value)


class GpuGauges(PrometheusCollector):
    """The GPUs of this machine."""

    def __init__(self, watch: GpuWatch) -> None:
        self._watch = watch

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        labels = ("gpu", "uuid")
        used = GaugeMetricFamily("arks_gpu_memory_used_bytes", "Memory in use", labels=labels)
        total = GaugeMetricFamily("arks_gpu_memory_total_bytes", "Total memory", labels=labels)
        busy = GaugeMetricFamily("arks_gpu_utilization_ratio", "Share of time with work, 0 to 1", labels=labels)
        for gpu in self._watch.newest:
            values = (str(gpu.index), gpu.uuid)
            used.add_metric(values, gpu.memory_used_bytes)
            total.add_metric(values, gpu.memory_total_bytes)
            if gpu.utilization_ratio is not None:
                busy.add_metric(values, gpu.utilization_ratio)
        yield from (used, total, busy)


_GAUGES = {
    "running_requests": "Requests that the engine works on",
    "waiting_requests": "Requests that wait inside the engine",
    "kv_cache_usage_ratio": "Share of the KV cache in use, 0 to 1",
    "prompt_tokens_per_second": "Prompt tokens processed a second",
    "generation_tokens_per_second": "Tokens generated a second",
    "drain_rate_per_second": "Requests finished a second, over its last busy seconds",
    "reading_age_seconds": "Time since the last good reading",
    "read_seconds": "How long the last good reading took",
    "problem": "1 while there are no signals of this replica",
}
