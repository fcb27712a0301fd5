"""Facts that vanish, and what is known again after a restart."""

from arks.endpoint_router.domain import WHOLE, Reason
from arks.endpoint_router.testing.harness import APP, CHAT, HOLD_SECONDS, Setup
from arks.events.v1.facts_pb2 import (
    REPLICA_STATE_DRAINING,
    REPLICA_STATE_READY,
)
from arks.kit.reconcile import Key, Requeue

# --- facts that vanish


def test_ready_replicas_whose_fact_vanishes_are_kept_for_a_while(serving: Setup) -> None:
    told = len(serving.gateway.decisions)
    serving.replicas.apply(APP, None)
    serving.clock.advance(HOLD_SECONDS - 1)
    serving.router.tick()
    assert told == len(serving.gateway.decisions)
    serving.clock.advance(2)
    serving.router.tick()
    assert Reason.NO_APPLICATION == serving.gateway.decisions[-1][1].reason


def test_a_fact_that_comes_back_ends_the_wait(serving: Setup) -> None:
    told = len(serving.gateway.decisions)
    serving.replicas.apply(APP, None)
    serving.report(states=[REPLICA_STATE_READY, REPLICA_STATE_READY])
    serving.clock.advance(HOLD_SECONDS + 1)
    serving.router.tick()
    assert told == len(serving.gateway.decisions)


def test_an_application_that_was_drained_goes_at_once(serving: Setup) -> None:
    serving.report(states=[REPLICA_STATE_DRAINING, REPLICA_STATE_DRAINING])
    serving.replicas.apply(APP, None)
    assert Reason.NO_APPLICATION == serving.gateway.decisions[-1][1].reason


async def _restarted(serving: Setup) -> Setup:
    """Another life of the router, with what the first one left in the status."""
    await serving.router.reconcile(CHAT)
    again = Setup(serving.clock)
    left = serving.endpoints.cache.get(CHAT)
    assert left is not None
    again.endpoints.cache.apply(CHAT, left)
    return again


async def test_after_a_restart_an_endpoint_of_which_nothing_is_known_is_not_emptied(serving: Setup) -> None:
    again = await _restarted(serving)
    again.router.begin()
    assert ([], ["team/chat"]) == (again.gateway.decisions, again.gateway.held)
    again.report()
    assert {"a-0": WHOLE} == again.weights()


async def test_after_a_restart_what_stays_unknown_is_given_up(serving: Setup) -> None:
    again = await _restarted(serving)
    again.router.begin()
    again.clock.advance(HOLD_SECONDS + 1)
    again.router.tick()
    assert Reason.NO_APPLICATION == again.gateway.decisions[-1][1].reason


async def test_after_a_restart_weights_go_on_from_where_they_were(serving: Setup) -> None:
    serving.teach(8.0, 2.0)
    again = await _restarted(serving)
    again.report(states=[REPLICA_STATE_READY, REPLICA_STATE_READY])
    again.router.begin()
    before, after = serving.weights()["a-0"], again.weights()["a-0"]
    assert WHOLE / 2 < after <= before


async def test_a_restart_is_no_event_and_no_change_of_status(serving: Setup) -> None:
    again = await _restarted(serving)
    again.report(states=[REPLICA_STATE_READY, REPLICA_STATE_READY])
    again.router.begin()
    await again.router.reconcile(CHAT)
    again.clock.advance(6)
    await again.router.reconcile(CHAT)
    assert ([], [serving.endpoints.statuses[-1]]) == (again.verbs(), again.endpoints.statuses)


async def test_after_a_restart_metrics_may_speak_before_the_status_says_that_they_are_silent(serving: Setup) -> None:
    serving.teach(4.0, 4.0)
    await serving.router.reconcile(CHAT)
    again = await _restarted(serving)
    again.report(states=[REPLICA_STATE_READY, REPLICA_STATE_READY])
    again.router.begin()
    requeue = await again.router.reconcile(CHAT)
    assert ([], Requeue(5.0)) == (again.endpoints.statuses, requeue)


def test_a_lone_replica_is_not_decided_about_again_and_again(setup: Setup) -> None:
    setup.apply("chat")
    setup.report()
    setup.router.begin()
    setup.load(4.0)
    looks = []
    for _ in range(60):
        setup.clock.advance(1.0)
        setup.router.tick()
        found = setup.router.explain(CHAT)
        assert found is not None and isinstance(found["newest"], dict)
        looks.append((found["newest"]["ageSeconds"], found["newest"]["signalSource"]))
    assert 1 == sum(age == 0.0 for age, _ in looks)
    assert "engine" == looks[-1][1]


async def test_old_facts_may_go_only_when_all_endpoints_have_said_theirs(setup: Setup) -> None:
    setup.apply("chat")
    setup.apply("embed")
    setup.router.begin()
    await setup.router.reconcile(CHAT)
    assert not setup.facts.completed
    await setup.router.reconcile(Key("team", "embed"))
    assert setup.facts.completed
