"""Prometheus metrics of the engine, from its own answer to Health."""

from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from arks.engine.v1.ark_pb2 import HealthResponse


class EngineMetrics(Collector):
    def __init__(self, health: Callable[[], HealthResponse]) -> None:
        self._health = health

    def collect(self) -> Iterator[Metric]:
        health = self._health()
        ready = health.status == HealthResponse.STATUS_READY
        yield GaugeMetricFamily("ark_engine_up", "1 if the engine is ready", value=float(ready))
        yield GaugeMetricFamily("ark_engine_slots", "Generations that can be worked on at once", value=health.slots)
        yield GaugeMetricFamily("ark_engine_running_requests", "Generations in slots", value=health.running)
        yield GaugeMetricFamily("ark_engine_waiting_requests", "Generations without a slot", value=health.waiting)
        yield CounterMetricFamily("ark_engine_prompt_tokens", "Tokens of prompts", value=health.prompt_tokens)
        yield CounterMetricFamily("ark_engine_generation_tokens", "Generated tokens", value=health.completion_tokens)
        yield CounterMetricFamily("ark_engine_finished_requests", "Ended generations", value=health.finished)
        yield CounterMetricFamily(
            "ark_engine_handed_over_prompts", "Prompts prefilled elsewhere", value=health.handed_over
        )
        yield CounterMetricFamily(
            "ark_engine_fallback_prompts", "Prompts whose hand-over failed", value=health.fallbacks
        )
