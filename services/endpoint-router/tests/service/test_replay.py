"""Traces are read, and their decisions taken again, as the running router took them."""

import json
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from arks.contracts.facts import ReplicaFact, ReplicaState
from arks.contracts.resources import ArksEndpoint
from arks.endpoint_router.domain import Source
from arks.endpoint_router.domain.native import FORGET_SECONDS
from arks.endpoint_router.service.replay import replay
from arks.endpoint_router.service.trace import Line, NotATrace, read
from arks.endpoint_router.testing.harness import APPLICATION, CHAT, RouterHarness
from arks.events.v1.facts_pb2 import ReplicasFact
from arks.events.v1.load_pb2 import LoadReport
from arks.kit.testing.clock import FakeClock

MANIFEST = {"apiVersion": "arks.ai/v1", "kind": "ArksEndpoint", "metadata": {"name": "chat", "namespace": "team"}}


class Recording:
    """A running router, and the trace of what it gets."""

    def __init__(self) -> None:
        self.harness = RouterHarness(FakeClock())
        self.harness.apply()
        self.harness.write_fact(states=[ReplicaState.READY, ReplicaState.READY])
        self.harness.router.start()
        endpoint = self.harness.endpoints.cache.get(CHAT)
        fact = self.harness.replicas.get(APPLICATION)
        assert endpoint is not None
        assert fact is not None
        self.endpoint, self.trace = endpoint, [Line(self.now, endpoint), Line(self.now, fact)]

    @property
    def now(self) -> float:
        return self.harness.clock.timestamp()

    def report(self, running: list[int], seconds: float) -> None:
        for _ in range(int(seconds * 4)):
            self.harness.clock.advance(0.25)
            report = LoadReport(namespace="team", application="a")
            report.measured_at.FromDatetime(self.harness.clock.now())
            for number, count in enumerate(running):
                report.replicas.add(name=f"a-{number}", slots=8, running_requests=count, waiting_requests=count // 2)
            self.harness.handle_load(report)
            self.trace.append(Line(self.now, report))

    @property
    def routed(self) -> list[tuple[float, dict[str, int]]]:
        """(time, replica -> weight) of each decision that changed something."""
        decisions = [decision for name, decision in self.harness.envoy.decisions if name == str(CHAT)]
        return [(decision.now, weights(decision)) for decision in decisions]


def weights(decision: Any) -> dict[str, int]:
    return {candidate.replica.id.name: candidate.weight for candidate in decision.candidates}


def spec(**fields: Any) -> ArksEndpoint:
    return ArksEndpoint.from_dict({**MANIFEST, "spec": fields})


def text(at: float, **content: Message | dict[str, Any]) -> str:
    ((name, value),) = content.items()
    return json.dumps({"at": at, name: MessageToDict(value) if isinstance(value, Message) else value})


def a_trace(*more: str) -> list[str]:
    fact = ReplicasFact(namespace="team", application="a", served_model="chat")
    return [text(10.0, endpoint=MANIFEST), text(10.0, replicas=fact), *more]


@settings(max_examples=20)
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=6))
def test_a_replay_takes_the_decisions_of_the_router_that_was_recorded(loads: list[tuple[int, int]]) -> None:
    recording = Recording()
    for load in loads:
        recording.report(list(load), seconds=2.0)
    replayed = replay(recording.trace, recording.endpoint)
    assert recording.routed == [(decision.now, weights(decision)) for decision in replayed.decisions]


def test_load_reports_get_old_in_a_replay_too() -> None:
    recording = Recording()
    recording.report([2, 2], seconds=2.0)
    (fact,) = [line.content for line in recording.trace if isinstance(line.content, ReplicasFact)]
    replayed = replay([*recording.trace, Line(recording.now + FORGET_SECONDS + 5.0, fact)], recording.endpoint)
    assert [Source.EQUAL, Source.ENGINE, Source.EQUAL] == [decision.source for decision in replayed.decisions]


def test_another_policy_changes_the_shares() -> None:
    recording = Recording()
    recording.report([2, 2], seconds=2.0)
    other = ReplicasFact.FromString(recording.trace[1].content.SerializeToString())  # type: ignore[union-attr]
    other.application = "b"
    for number, replica in enumerate(other.replicas):
        replica.name, replica.port = f"b-{number}", replica.port + 100
    trace = [*recording.trace[:2], Line(recording.trace[1].at, other), *recording.trace[2:]]
    assert {"a-0": 0.25, "a-1": 0.25, "b-0": 0.25, "b-1": 0.25} == pytest.approx(replay(trace, spec()).shares, abs=1e-4)
    policy = spec(routeConfigs=[{"name": "arks-application-a", "weight": 3}])
    assert {"a-0": 0.375, "a-1": 0.375, "b-0": 0.125, "b-1": 0.125} == pytest.approx(
        replay(trace, policy).shares, abs=1e-4
    )


def test_shares_are_means_over_the_time_of_the_trace() -> None:
    replicas = [ReplicaFact(f"a-{n}", "127.0.0.1", 9000 + n, ReplicaState.READY).to_message() for n in range(2)]
    alone = ReplicasFact(namespace="team", application="a", served_model="chat", replicas=replicas[:1])
    both = ReplicasFact(namespace="team", application="a", served_model="chat", replicas=replicas)
    trace = [Line(0.0, spec()), Line(0.0, alone), Line(3.0, both), Line(4.0, both)]
    assert {"a-0": 0.875, "a-1": 0.125} == pytest.approx(replay(trace, spec()).shares, abs=1e-3)


def test_a_trace_is_read_line_by_line() -> None:
    load = LoadReport(namespace="team", application="a")
    kinds = [type(line.content) for line in read(a_trace(text(10.5, load=load), text(11.0, end={})))]
    assert [ArksEndpoint, ReplicasFact, LoadReport, type(None)] == kinds


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["nothing"], "line 1: Expecting value"),
        (["{}"], "line 1: 'at'"),
        (["[]"], "line 1: list indices"),
        ([*a_trace(), '{"at": 11}'], "line 3: 'load'"),
        (a_trace()[1:], "line 1: a trace has its endpoint in the first line"),
        ([*a_trace(), a_trace()[0]], "line 3: a trace has its endpoint in the first line, and only there"),
        (a_trace(text(9.0, load=LoadReport())), "line 3: its time is before"),
        ([*a_trace(), '{"at": 11, "load": {"replicas": 1}}'], "line 3: "),
    ],
)
def test_what_is_no_trace_is_refused_with_the_number_of_the_line(lines: list[str], message: str) -> None:
    with pytest.raises(NotATrace) as refused:
        list(read(lines))
    assert str(refused.value).startswith(message)
