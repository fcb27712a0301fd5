"""What a record keeps between decisions makes no decision another one."""

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from arks.contracts.facts import ReplicaFact, ReplicaState
from arks.contracts.resources import ArksEndpoint
from arks.endpoint_router.domain import DecisionInput, Report, decide
from arks.endpoint_router.domain.translate import endpoint_spec
from arks.endpoint_router.service.endpoint_record import EndpointRecord
from arks.endpoint_router.service.neighbours import Neighbours
from arks.events.v1.facts_pb2 import ReplicasFact
from arks.events.v1.load_pb2 import LoadReport
from arks.kit.key import Key

CHAT = Key("team", "chat")
ENDPOINT = ArksEndpoint.from_dict({"metadata": {"name": "chat", "namespace": "team", "generation": 1}, "spec": {}})

loads = st.tuples(st.integers(0, 16), st.sampled_from([0, 0, 0, 5]), st.integers(0, 40))
"""Running and waiting requests of a replica, and the tokens that it has made since the report before."""
facts = st.tuples(st.just("fact"), st.sampled_from("ab"), st.lists(st.sampled_from(ReplicaState), max_size=3))
reports = st.tuples(st.just("load"), st.sampled_from("ab"), st.lists(loads, min_size=1, max_size=3))
weights = st.tuples(st.just("weight"), st.just(""), st.integers(0, 3))
steps = st.lists(st.one_of(facts, reports, reports, reports, weights), max_size=30)


def fact(application: str, states: list[ReplicaState]) -> ReplicasFact:
    base = 9000 if application == "a" else 9002  # the last of three replicas has the address of another one
    replicas = [
        ReplicaFact(f"{application}-{number}", "127.0.0.1", base + number, state).to_message()
        for number, state in enumerate(states)
    ]
    return ReplicasFact(namespace="team", application=application, served_model="chat", replicas=replicas)


@given(steps)
@settings(max_examples=100)
def test_decisions_with_what_is_kept_equal_those_from_scratch(steps: list[tuple[str, str, Any]]) -> None:
    neighbours, record = Neighbours(hold_seconds=10.0), EndpointRecord(ENDPOINT, endpoint_spec(ENDPOINT))
    neighbours.set_endpoint(CHAT, record.spec)
    totals: dict[str, int] = {}
    for now, (kind, application, content) in enumerate(steps, start=1):
        if kind == "fact":
            neighbours.update_replicas(Key("team", application), fact(application, content), now)
        elif kind == "weight":
            record.spec = replace(record.spec, default_weight=content)
        else:
            report = LoadReport(namespace="team", application=application)
            report.measured_at.seconds = now
            for number, (running, waiting, tokens) in enumerate(content):
                name = f"{application}-{number}"
                totals[name] = totals.get(name, 0) + tokens
                load = report.replicas.add(name=name, running_requests=running, waiting_requests=waiting)
                load.generation_tokens_total = load.finished_requests_total = totals[name]
            neighbours.update_load(Key("team", application), Report(report.SerializeToString()))
        inputs = DecisionInput(
            applications=neighbours.applications_for(CHAT, record.spec),
            loads=neighbours.loads("team"),
            before=record.comparisons,
            now=now,
        )
        decision = record.decide(inputs)
        assert decide(record.spec, inputs) == decision
        record.add(decision, now)
