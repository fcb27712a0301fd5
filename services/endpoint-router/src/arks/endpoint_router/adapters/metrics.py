"""What Prometheus sees of decisions, made when it asks."""

from collections.abc import Iterable, Iterator
from typing import Protocol

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from arks.endpoint_router.domain import Decision
from arks.kit.reconcile import Key


class Decides(Protocol):
    def decisions(self) -> Iterable[tuple[Key, Decision]]:
        """The newest decision of each endpoint."""


class DecisionCollector(Collector):
    def __init__(self, router: Decides) -> None:
        self._router = router

    def collect(self) -> Iterator[Metric]:
        labels = ["namespace", "endpoint"]
        ready = GaugeMetricFamily("arks_endpoint_ready", "1 while requests are routed", labels=labels)
        replicas = GaugeMetricFamily("arks_endpoint_ready_replicas", "Replicas that get traffic", labels=labels)
        measured = GaugeMetricFamily(
            "arks_endpoint_measured_replicas", "Of these, those whose load is known", labels=labels
        )
        weights = GaugeMetricFamily(
            "arks_endpoint_replica_weight",
            "Weight of a replica; those of an endpoint add up to 100,000",
            labels=[*labels, "application", "replica"],
        )
        for key, decision in self._router.decisions():
            names = [key.namespace, key.name]
            routed = [one for one in decision.candidates if one.weight]
            ready.add_metric(names, float(decision.ready))
            replicas.add_metric(names, len(routed))
            measured.add_metric(names, sum(one.doubt is None for one in routed))
            for one in routed:
                weights.add_metric([*names, one.replica.id.application, one.replica.id.name], one.weight)
        yield from (ready, replicas, measured, weights)

    def describe(self) -> Iterator[Metric]:
        """Nothing: registering must not ask the router."""
        yield from ()
