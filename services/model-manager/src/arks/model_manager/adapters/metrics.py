"""Prometheus metrics of models and downloads."""

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from arks.contracts.resources import ArksModelStatus, ModelPhase
from arks.kit.key import Key
from arks.model_manager.domain.failures import FailureKind

LABELS = ("namespace", "model")


class DownloadMetrics:
    """Of all downloads together. `running` is called at each scrape."""

    def __init__(self, registry: CollectorRegistry, running: Callable[[], float]) -> None:
        self.read_bytes = Counter("arks_model_download_bytes", "Bytes downloaded (or checked)", registry=registry)
        self.failed = Counter("arks_model_download_failures", "Downloads that failed", ["kind"], registry=registry)
        for kind in FailureKind:  # a series that begins at 1 shows no increase
            self.failed.labels(kind.value)
        gauge = Gauge("arks_model_downloads_running", "Running downloads", registry=registry)
        gauge.set_function(running)


class ModelCollector(Collector):
    """The state of each model, read at each scrape, so that a deleted model leaves no series behind."""

    def __init__(self, statuses: Callable[[], Mapping[Key, ArksModelStatus]]) -> None:
        self._statuses = statuses

    def collect(self) -> Iterable[GaugeMetricFamily]:
        ready = GaugeMetricFamily("arks_model_ready", "1 if engines can load the model", labels=LABELS)
        failed = GaugeMetricFamily("arks_model_failed", "1 if the model needs attention", labels=LABELS)
        size = GaugeMetricFamily("arks_model_size_bytes", "Size of a ready model's files", labels=LABELS)
        done = GaugeMetricFamily("arks_model_done_bytes", "Bytes of the model in its storage", labels=LABELS)
        total = GaugeMetricFamily("arks_model_total_bytes", "Bytes of the model at its source", labels=LABELS)
        for key, status in self._statuses().items():
            labels = (key.namespace, key.name)
            ready.add_metric(labels, float(status.phase is ModelPhase.READY))
            failed.add_metric(labels, float(status.phase is ModelPhase.FAILED))
            if status.size_bytes is not None:
                size.add_metric(labels, status.size_bytes)
            if status.progress is not None and status.progress.total_bytes is not None:
                done.add_metric(labels, status.progress.done_bytes)
                total.add_metric(labels, status.progress.total_bytes)
        return ready, failed, size, done, total
