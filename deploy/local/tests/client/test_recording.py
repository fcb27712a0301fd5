"""Traces of what an endpoint's decisions are made from."""

from typing import Any

from arks.events.v1.facts_pb2 import ReplicasFact
from arks.events.v1.load_pb2 import LoadReport
from arks.kit.key import Key
from arks.local.client.recording import Recording

ENDPOINT: dict[str, Any] = {"kind": "ArksEndpoint", "metadata": {"namespace": "team", "name": "chat"}}


class Clock:
    def __init__(self) -> None:
        self.seconds = 5.0

    def __call__(self) -> float:
        return self.seconds


def fact(namespace: str = "team", model: str = "chat") -> ReplicasFact:
    return ReplicasFact(namespace=namespace, application="a", served_model=model)


def report(seconds: int, namespace: str = "team") -> LoadReport:
    made = LoadReport(namespace=namespace, application="a")
    made.measured_at.seconds = seconds
    return made


def test_a_trace_begins_with_the_endpoint_and_has_each_change_of_its_namespace_once() -> None:
    lines: list[dict[str, Any]] = []
    clock = Clock()
    recording = Recording(ENDPOINT, lines.append, now=lambda: 1_000.0, elapsed=clock)
    recording.take_replicas(Key("team", "a"), fact())
    recording.begin([fact(), fact("other")])
    clock.seconds += 2.0
    recording.take_replicas(Key("team", "a"), fact(model="next"))
    recording.take_replicas(Key("team", "a"), fact(model="next"))
    recording.take_load(report(3_000, "other"))
    recording.take_load(report(3_000))
    recording.take_replicas(Key("team", "a"), None)
    clock.seconds += 1.0
    assert 6 == recording.end()
    recording.take_load(report(3_001))
    assert [
        (1_000.0, "endpoint"),
        (1_000.0, "replicas"),
        (1_002.0, "replicas"),
        (3_000.0, "load"),
        (3_000.0, "replicas"),
        (3_001.0, "end"),
    ] == [(line["at"], next(name for name in line if name != "at")) for line in lines]
    assert {"namespace": "team", "application": "a"} == lines[-2]["replicas"]


def test_a_trace_has_the_clock_of_the_load_reports() -> None:
    lines: list[dict[str, Any]] = []
    clock = Clock()
    recording = Recording(ENDPOINT, lines.append, now=lambda: 1_000.0, elapsed=clock)
    recording.take_load(report(3_000, "other"))
    assert recording.first_report.is_set()
    clock.seconds += 1.5
    recording.begin([])
    assert 3_001.5 == lines[0]["at"]
