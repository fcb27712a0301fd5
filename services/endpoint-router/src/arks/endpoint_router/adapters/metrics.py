"""Prometheus metrics of decisions and of the xDS server."""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from arks.endpoint_router.service.router import EndpointRouter

_BUCKETS = (
    0.001,
    0.002,
    0.005,
    0.01,
    0.015,
    0.02,
    0.0225,
    0.025,
    0.03,
    0.04,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
)


class XdsMetrics:
    def __init__(
        self, registry: CollectorRegistry, streams: Callable[[], float], unacknowledged_seconds: Callable[[], float]
    ) -> None:
        """`streams`, `unacknowledged_seconds`: called at each scrape."""
        Gauge("arks_xds_streams", "Envoys that are connected", registry=registry).set_function(streams)
        self.responses = Counter("arks_xds_responses", "Responses sent to Envoys", ["type"], registry=registry)
        self.rejections = Counter("arks_xds_refusals", "Responses that an Envoy refused", ["type"], registry=registry)
        self.update_seconds = Histogram(
            "arks_xds_update_seconds",
            "From a fact or load report to Envoy's acknowledgement",
            ["type"],
            registry=registry,
            buckets=_BUCKETS,
        )
        Gauge(
            "arks_xds_unacknowledged_seconds",
            "Age of the oldest response that an Envoy has not answered",
            registry=registry,
        ).set_function(unacknowledged_seconds)


class DecisionCollector(Collector):
    """Metrics of the newest decisions, built at each scrape."""

    def __init__(self, router: EndpointRouter) -> None:
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
            routed = [candidate for candidate in decision.candidates if candidate.weight]
            ready.add_metric(names, float(decision.ready))
            replicas.add_metric(names, len(routed))
            measured.add_metric(names, sum(candidate.doubt is None for candidate in routed))
            for candidate in routed:
                id_ = candidate.replica.id
                weights.add_metric([*names, id_.application, id_.name], candidate.weight)
        yield from (ready, replicas, measured, weights)

    def describe(self) -> Iterator[Metric]:
        """Yield nothing: registration must not call the router."""
        yield from ()
