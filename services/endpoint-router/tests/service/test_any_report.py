"""Facts and load reports of any content: none stops routing, also not at the next tick."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from arks.endpoint_router.testing.harness import APPLICATION, RouterHarness
from arks.events.v1.facts_pb2 import Replica, ReplicasFact
from arks.events.v1.load_pb2 import LoadReport, ReplicaLoad
from arks.kit.testing.clock import FakeClock
from arks.kit.testing.values import texts

SIGNALS = [field.name for field in ReplicaLoad.DESCRIPTOR.fields if field.type == field.TYPE_DOUBLE]
NAMES = st.sampled_from(["a-0", "a-1"]) | texts
numbers = st.floats() | st.sampled_from([0.0, -1.0, 1e308, float("nan"), float("inf"), float("-inf")])
loads = st.builds(
    lambda name, signals, slots: ReplicaLoad(name=name, slots=slots, **signals),
    NAMES,
    st.dictionaries(st.sampled_from(SIGNALS), numbers),
    st.integers(0, 2**31 - 1),
)
replicas = st.builds(
    Replica,
    name=NAMES,
    host=st.just("127.0.0.1") | texts,
    port=st.integers(0, 2**31 - 1),
    state=st.integers(0, 9),
    slots=st.integers(0, 2**31 - 1),
    restarts=st.integers(0, 2**31 - 1),
)


@given(st.lists(loads, max_size=4), st.lists(replicas, max_size=4), st.integers(-(2**40), 2**40))
@settings(max_examples=200)
def test_any_load_report_and_any_fact_are_taken(
    loads: list[ReplicaLoad], replicas: list[Any], measured_at_seconds: int
) -> None:
    harness = RouterHarness(FakeClock())
    harness.apply()
    harness.router.start()
    faults: list[Exception] = []
    harness.replicas.on_fault = lambda key, error: faults.append(error)
    harness.write_fact()
    harness.replicas.apply(
        APPLICATION, ReplicasFact(namespace="team", application="a", served_model="chat", replicas=replicas)
    )
    report = LoadReport(namespace="team", application="a", replicas=loads)
    report.measured_at.seconds = measured_at_seconds
    for _ in range(3):
        harness.handle_load(report)
        harness.clock.advance(5)
        harness.router.tick()
    assert [] == faults
