"""Facts of app-deployer in, gauges out."""

from prometheus_client import CollectorRegistry, generate_latest

from arks.events.v1.facts_pb2 import ReplicasFact, ReplicaState
from arks.kit.cache import Cache
from arks.kit.clock import SystemClock
from arks.kit.key import Key
from arks.metrics.adapters.facts import application_of, follow
from arks.metrics.adapters.metrics import ReplicaGauges
from arks.metrics.domain.replicas import Application, Replica
from arks.metrics.domain.scaling.parts import parts_of
from arks.metrics.service.collector import Collector
from arks.metrics.service.ports import ReadPolicy
from arks.metrics.testing.members import alone

KEY = Key("default", "app")


def fact(*states: ReplicaState) -> ReplicasFact:
    message = ReplicasFact(namespace="default", application="app", runtime="vllm")
    for index, state in enumerate(states):
        message.replicas.add(name=f"app-{index}", host="127.0.0.1", port=8000 + index, state=state, slots=4, restarts=2)
    return message


def collector() -> Collector:
    return Collector(None, None, SystemClock(), ReadPolicy(), alone())  # type: ignore[arg-type]  # nothing is read here


def test_only_replicas_that_serve_or_drain_are_read() -> None:
    message = fact(
        ReplicaState.REPLICA_STATE_STARTING,
        ReplicaState.REPLICA_STATE_READY,
        ReplicaState.REPLICA_STATE_DRAINING,
        ReplicaState.REPLICA_STATE_FAILED,
        ReplicaState.REPLICA_STATE_UNSPECIFIED,
    )
    expected = (Replica("app-1", "127.0.0.1", 8001, 4, 2), Replica("app-2", "127.0.0.1", 8002, 4, 2))
    assert Application("vllm", expected) == application_of(
        parts_of(message)[Key(message.namespace, message.application)]
    )


def test_the_collector_follows_the_facts() -> None:
    facts, following = Cache[ReplicasFact](), collector()
    facts.apply(KEY, fact(ReplicaState.REPLICA_STATE_READY))
    follow(facts, following)
    assert [KEY] == [watch.key for watch in following.watches()]
    facts.apply(KEY, fact(ReplicaState.REPLICA_STATE_FAILED))
    assert [] == list(following.watches())
    facts.apply(KEY, fact(ReplicaState.REPLICA_STATE_READY))
    facts.apply(KEY, None)
    assert [] == list(following.watches())


def test_a_replica_that_was_never_read_is_on_our_page_as_a_problem_and_not_as_idle() -> None:
    following, registry = collector(), CollectorRegistry()
    following.change(KEY, Application("vllm", (Replica("app-0", "127.0.0.1", 8000),)))
    registry.register(ReplicaGauges(following, SystemClock()))
    page = generate_latest(registry).decode()
    labels = 'application="app",namespace="default",replica="app-0"'
    assert f"arks_replica_problem{{{labels}}} 1.0" in page
    assert "arks_replica_running_requests{" not in page
