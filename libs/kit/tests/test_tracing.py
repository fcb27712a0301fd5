"""Spans of a service: none without a collector, and a real receiver gets what was measured."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from arks.kit.key import Key
from arks.kit.otlp import OtlpTracer
from arks.kit.reconcile import Controller, Requeue
from arks.kit.settings import Settings
from arks.kit.testing.otlp import collector
from arks.kit.testing.wait import eventually
from arks.kit.tracers import tracer_of
from arks.kit.tracing import NoTracer, Tracer, traces_address

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "given", ["http://collector:4318", "http://collector:4318/", "http://collector:4318/v1/traces"]
)
def test_spans_go_to_the_path_of_otlp_below_the_documented_address(given: str) -> None:
    assert "http://collector:4318/v1/traces" == traces_address(given)


def test_a_collector_has_a_path_of_its_own() -> None:
    assert "https://traces.example.com/team-a/v1/traces" == traces_address("https://traces.example.com/team-a")


def test_a_service_runs_without_traces_if_opentelemetry_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "arks.kit.otlp", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    tracer = tracer_of("test", Settings(otlp_endpoint="http://collector:4318"))
    assert isinstance(tracer, NoTracer)


def test_without_a_collector_nothing_of_opentelemetry_is_imported() -> None:
    code = (
        "import sys; from arks.kit.app import App; from arks.kit.home import LocalHome; "
        "from arks.kit.settings import Settings; LocalHome('x', Settings()); "
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    assert "[]" == subprocess.check_output([sys.executable, "-c", code], text=True, timeout=60).strip()


def test_without_a_collector_all_spans_are_the_same_empty_one() -> None:
    tracer = tracer_of("test", Settings())
    assert not tracer.enabled
    assert tracer.span("a", {"b": 1}) is tracer.span("c", parent=PARENT)


async def test_spans_arrive_with_parent_attributes_and_failure() -> None:
    async with collector() as received:
        tracer: Tracer = OtlpTracer("test", traces_address(received.url))
        with tracer.span("outer", {"number": 1}, parent=PARENT) as span, tracer.span("inner"):
            span.set("text", "a")
        with pytest.raises(ZeroDivisionError), tracer.span("broken"):
            _ = 1 / 0
        ended = NOW + timedelta(seconds=90)
        tracer.record("elsewhere", {"bytes": 5}, began_at=NOW, ended_at=ended, failure="network")
        await tracer.close()
    outer, inner = await received.span("arks-test", "outer"), await received.span("arks-test", "inner")
    assert ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7") == (outer.trace_id, outer.parent_id)
    assert (outer.trace_id, outer.span_id) == (inner.trace_id, inner.parent_id)
    assert {"number": 1, "text": "a"} == outer.attributes
    assert (await received.span("arks-test", "broken")).failed
    elsewhere = await received.span("arks-test", "elsewhere")
    assert (True, 90.0, {"bytes": 5}) == (elsewhere.failed, elsewhere.seconds, elsewhere.attributes)


async def test_a_span_of_an_unsampled_request_is_not_sent_and_a_detached_one_has_no_children() -> None:
    async with collector() as received:
        tracer = OtlpTracer("test", traces_address(received.url))
        with tracer.span("unsampled", parent=PARENT[:-2] + "00"):
            pass
        with tracer.span("detached", detached=True), tracer.span("alone"):
            pass
        await tracer.close()
    assert "" == (await received.span("arks-test", "alone")).parent_id
    assert {"detached", "alone"} == {span.name for span in received.spans}


AWAY = """
import asyncio, time
from arks.kit.otlp import OtlpTracer

async def end() -> None:
    tracer = OtlpTracer("test", "http://127.0.0.1:1/v1/traces")
    with tracer.span("lost"):
        pass
    began = time.monotonic()
    await tracer.close()
    print(time.monotonic() - began)

asyncio.run(end())
"""


def test_the_end_of_a_service_does_not_wait_for_a_collector_that_is_away() -> None:
    # In a process of its own: the thread that goes on trying would draw random numbers beside other tests.
    seconds = subprocess.check_output([sys.executable, "-c", AWAY], text=True, stderr=subprocess.DEVNULL, timeout=60)
    assert float(seconds) < 4


async def test_a_reconcile_is_a_span_with_its_key_result_or_failure() -> None:
    async def reconcile(key: Key) -> Requeue | None:
        if key.name == "bad":
            raise ValueError("no")
        return Requeue(60.0) if key.name == "later" else None

    async with collector() as received:
        tracer = OtlpTracer("test", traces_address(received.url))
        controller = Controller("models", reconcile, tracer=tracer)
        for name in ("good", "later", "bad"):
            await controller._work(Key("default", name))
        await tracer.close()

    def found() -> bool:
        return len(received.spans) == len(("good", "later", "bad"))

    await eventually(found)
    results = {
        span.attributes["arks.name"]: (span.attributes.get("arks.result"), span.failed) for span in received.spans
    }
    assert {"good": ("done", False), "later": ("requeue", False), "bad": (None, True)} == results
