"""Prometheus gauges of autoscalers."""

from collections.abc import Iterable, Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector as PrometheusCollector

from arks.contracts.conditions import is_true
from arks.contracts.resources import ArksAutoscaler
from arks.kit.cache import Cache
from arks.metrics.domain.scaling.parts import target_of
from arks.metrics.domain.scaling.status import LIMITED

_LABELS = ("namespace", "autoscaler", "application")


class AutoscalerGauges(PrometheusCollector):
    """What autoscalers want, for dashboards, and for a HorizontalPodAutoscaler by way of Prometheus."""

    def __init__(self, autoscalers: Cache[ArksAutoscaler]) -> None:
        self._autoscalers = autoscalers

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        wanted = GaugeMetricFamily("arks_autoscaler_wanted_replicas", "Replicas that are wanted", labels=_LABELS)
        limited = GaugeMetricFamily("arks_autoscaler_limited", "1 while fewer replicas run than needed", labels=_LABELS)
        for key, autoscaler in self._autoscalers.items():
            status, labels = autoscaler.status, (key.namespace, key.name, target_of(autoscaler).name)
            if status is not None and status.wanted_replicas is not None:
                wanted.add_metric(labels, status.wanted_replicas)
                limited.add_metric(labels, float(is_true(status.conditions, LIMITED)))
        yield from (wanted, limited)
