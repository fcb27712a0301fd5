"""Prometheus metrics of the proxy and, read when the page is, of its engine."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from arks.engine.v1.ark_pb2 import HealthResponse

_BUCKETS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)


class ProxyMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._requests = Counter(
            "arks_openai_proxy_requests", "Requests by path and status", ["path", "status"], registry=registry
        )
        self._in_flight = Gauge("arks_openai_proxy_in_flight_requests", "Requests in flight", registry=registry)
        self._seconds = Histogram(
            "arks_openai_proxy_request_seconds", "Time of requests", ["path"], buckets=_BUCKETS, registry=registry
        )
        self._first_event_seconds = Histogram(
            "arks_openai_proxy_first_event_seconds",
            "Time until the engine's first event of a stream",
            buckets=_BUCKETS,
            registry=registry,
        )
        self._disconnects = Counter(
            "arks_openai_proxy_disconnects", "Clients that ended their request early", registry=registry
        )
        self.retries = Counter("arks_openai_proxy_retries", "Repeated calls of the engine", registry=registry)

    def began(self) -> None:
        self._in_flight.inc()

    def first_event(self, seconds: float) -> None:
        self._first_event_seconds.observe(seconds)

    def ended(self, path: str, status: int, seconds: float, *, early: bool) -> None:
        self._in_flight.dec()
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)
        if early:
            self._disconnects.inc()

    def page(self, health: HealthResponse | None) -> bytes:
        """The whole page. `health`: None while the engine does not answer; its metrics are absent then."""
        with_engine = CollectorRegistry()
        with_engine.register(_Page(health))
        return generate_latest(self._registry) + generate_latest(with_engine)


class _Page:
    def __init__(self, health: HealthResponse | None) -> None:
        self._health = health

    def collect(self) -> list[Metric]:
        health = self._health
        up = GaugeMetricFamily("ark_engine_up", "1 if the engine is ready", value=float(_ready(health)))
        if health is None:
            return [up]
        return [
            up,
            GaugeMetricFamily("ark_engine_slots", "Generations that can be worked on at once", value=health.slots),
            GaugeMetricFamily("ark_engine_running_requests", "Generations in slots", value=health.running),
            GaugeMetricFamily("ark_engine_waiting_requests", "Generations without a slot", value=health.waiting),
            CounterMetricFamily("ark_engine_prompt_tokens", "Tokens of prompts", value=health.prompt_tokens),
            CounterMetricFamily("ark_engine_generation_tokens", "Generated tokens", value=health.completion_tokens),
            CounterMetricFamily("ark_engine_finished_requests", "Ended generations", value=health.finished),
            CounterMetricFamily(
                "ark_engine_handed_over_prompts", "Prompts prefilled elsewhere", value=health.handed_over
            ),
            CounterMetricFamily(
                "ark_engine_fallback_prompts", "Prompts whose hand-over failed", value=health.fallbacks
            ),
        ]


def _ready(health: HealthResponse | None) -> bool:
    return health is not None and health.status == HealthResponse.STATUS_READY
