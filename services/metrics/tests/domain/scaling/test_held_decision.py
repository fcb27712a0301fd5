"""Requests that wait at the gateway start the first replica and keep it."""

from arks.metrics.domain.scaling.decision import Memory, Why, decide
from arks.metrics.domain.scaling.observed import Observed
from arks.metrics.domain.scaling.policy import Objectives, Policy
from arks.metrics.domain.scaling.schedule import Bounds

BOUNDS = Bounds(0, 3)
POLICY = Policy(0, 3, Objectives())


def test_held_requests_start_the_first_replica() -> None:
    memory, decision = decide(POLICY, BOUNDS, Memory(), Observed(0.0, 0), 0)
    assert (0, Why.IDLE) == (decision.replicas, decision.why)
    memory, decision = decide(POLICY, BOUNDS, memory, Observed(1.0, 0, held=7), 0)
    assert (1, Why.WAKE) == (decision.replicas, decision.why)
    assert "7 requests wait for the first replica" == decision.message


def test_a_start_longer_than_the_idle_time_is_not_cut_while_requests_wait() -> None:
    memory, at = Memory(), 0.0
    while at < 2 * POLICY.idle_seconds:
        memory, decision = decide(POLICY, BOUNDS, memory, Observed(at, 0, held=2), 1)
        assert (1, Why.STARTING) == (decision.replicas, decision.why)
        at += 5.0


def test_a_request_that_waited_arrived_once() -> None:
    memory, _ = decide(POLICY, BOUNDS, Memory(), Observed(0.0, 0, held=5), 1)
    memory, _ = decide(POLICY, BOUNDS, memory, Observed(5.0, 1, in_flight=5.0), 1)
    memory, _ = decide(POLICY, BOUNDS, memory, Observed(10.0, 1, in_flight=0.0, finished=5.0), 1)
    assert memory.history.last is not None
    assert 5.0 == memory.history.last.arrived
