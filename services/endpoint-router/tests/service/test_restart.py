"""Facts that vanish, and state that is restored after a restart."""

import asyncio

from arks.contracts.facts import ReplicaState
from arks.endpoint_router.domain import WEIGHT_TOTAL, Reason
from arks.endpoint_router.service.router import FINALIZER
from arks.endpoint_router.testing.harness import APPLICATION, CHAT, HOLD_SECONDS, RouterHarness
from arks.kit.key import Key
from arks.kit.reconcile import Blocked, Controller, FirstPass, Requeue
from arks.kit.tasks import cancel
from arks.kit.testing.clock import FakeClock

# --- facts that vanish


def test_ready_replicas_whose_fact_vanishes_are_kept_for_a_while(serving: RouterHarness) -> None:
    before = len(serving.envoy.decisions)
    serving.replicas.apply(APPLICATION, None)
    serving.clock.advance(HOLD_SECONDS - 1)
    serving.router.tick()
    assert before == len(serving.envoy.decisions)
    serving.clock.advance(2)
    serving.router.tick()
    assert Reason.NO_APPLICATION == serving.envoy.decisions[-1][1].reason


def test_a_fact_that_returns_ends_the_hold(serving: RouterHarness) -> None:
    before = len(serving.envoy.decisions)
    serving.replicas.apply(APPLICATION, None)
    serving.write_fact(states=[ReplicaState.READY, ReplicaState.READY])
    serving.clock.advance(HOLD_SECONDS + 1)
    serving.router.tick()
    assert before == len(serving.envoy.decisions)


def test_a_drained_application_is_removed_at_once(serving: RouterHarness) -> None:
    serving.write_fact(states=[ReplicaState.DRAINING, ReplicaState.DRAINING])
    serving.replicas.apply(APPLICATION, None)
    assert Reason.NO_APPLICATION == serving.envoy.decisions[-1][1].reason


async def _restarted(serving: RouterHarness) -> RouterHarness:
    """Return a restarted router, with the status that the first one wrote."""
    await serving.router.reconcile(CHAT)
    restarted = RouterHarness(serving.clock)
    stored = serving.endpoints.cache.get(CHAT)
    assert stored is not None
    restarted.endpoints.put(stored)
    return restarted


async def test_after_a_restart_an_endpoint_without_facts_keeps_its_replicas(serving: RouterHarness) -> None:
    restarted = await _restarted(serving)
    restarted.router.start()
    assert ([], ["team/chat"]) == (restarted.envoy.decisions, restarted.envoy.held)
    restarted.write_fact()
    assert {"a-0": WEIGHT_TOTAL} == restarted.weights()


async def test_after_a_restart_the_hold_of_an_endpoint_without_facts_ends(serving: RouterHarness) -> None:
    restarted = await _restarted(serving)
    restarted.router.start()
    restarted.clock.advance(HOLD_SECONDS + 1)
    restarted.router.tick()
    assert Reason.NO_APPLICATION == restarted.envoy.decisions[-1][1].reason


async def test_after_a_restart_weights_continue_from_the_status(serving: RouterHarness) -> None:
    serving.report_drain_rates(8.0, 2.0)
    restarted = await _restarted(serving)
    restarted.write_fact(states=[ReplicaState.READY, ReplicaState.READY])
    restarted.router.start()
    before, after = serving.weights()["a-0"], restarted.weights()["a-0"]
    assert WEIGHT_TOTAL / 2 < after <= before


async def test_a_restart_causes_no_event_and_no_status_write(serving: RouterHarness) -> None:
    restarted = await _restarted(serving)
    restarted.write_fact(states=[ReplicaState.READY, ReplicaState.READY])
    restarted.router.start()
    await restarted.router.reconcile(CHAT)
    restarted.clock.advance(6)
    await restarted.router.reconcile(CHAT)
    assert ([], []) == (restarted.events.verbs, restarted.endpoints.statuses)


async def test_after_a_restart_the_status_waits_for_the_first_load_report(
    serving: RouterHarness,
) -> None:
    serving.report_drain_rates(4.0, 4.0)
    await serving.router.reconcile(CHAT)
    restarted = await _restarted(serving)
    restarted.write_fact(states=[ReplicaState.READY, ReplicaState.READY])
    restarted.router.start()
    requeue = await restarted.router.reconcile(CHAT)
    assert ([], Requeue(5.0)) == (restarted.endpoints.statuses, requeue)


def test_decisions_about_a_single_replica_are_not_repeated(harness: RouterHarness) -> None:
    harness.apply("chat")
    harness.write_fact()
    harness.router.start()
    harness.report_load(4.0)
    looks = []
    for _ in range(100):
        harness.clock.advance(1.0)
        harness.router.tick()
        found = harness.router.explain(CHAT)
        assert found is not None and isinstance(found["newest"], dict)
        looks.append((found["newest"]["ageSeconds"], found["newest"]["signalSource"]))
    assert 0 == sum(age == 0.0 for age, _ in looks)
    assert "engine" == looks[-1][1]


async def test_old_facts_are_deleted_only_after_every_endpoint_has_its_fact(harness: RouterHarness) -> None:
    for name in ("chat", "embed"):
        harness.apply(name)
    harness.router.start()
    written, done = list[Key](), asyncio.Event()

    def end() -> None:
        written.extend(sorted(harness.facts.facts))
        done.set()

    existing = [key for key, _ in harness.endpoints.cache.items()]
    first_pass = FirstPass(existing=lambda: existing, done=end)
    running = asyncio.create_task(Controller("endpoints", harness.router.reconcile, first_pass=first_pass).run())
    await done.wait()
    await cancel(running)
    assert [CHAT, Key("team", "embed")] == written


async def test_an_old_fact_stays_while_the_endpoint_is_held(serving: RouterHarness) -> None:
    restarted = await _restarted(serving)
    assert Blocked() == await restarted.router.reconcile(CHAT)
    restarted.router.start()
    assert Blocked() == await restarted.router.reconcile(CHAT)
    restarted.write_fact()
    assert not isinstance(await restarted.router.reconcile(CHAT), Blocked)


# --- endpoints that cannot be read


async def test_an_endpoint_that_cannot_be_read_any_more_keeps_its_routes(serving: RouterHarness) -> None:
    before = len(serving.envoy.decisions)
    serving.endpoints.put_unreadable(CHAT)
    await serving.router.reconcile(CHAT)
    assert (before, []) == (len(serving.envoy.decisions), serving.envoy.removed)
    assert CHAT in serving.facts.facts


async def test_after_a_restart_an_endpoint_that_cannot_be_read_keeps_what_envoys_have(clock: FakeClock) -> None:
    restarted = RouterHarness(clock)
    restarted.endpoints.put_unreadable(CHAT)
    restarted.router.start()
    await restarted.router.reconcile(CHAT)
    assert (["team/chat"], [], True) == (restarted.envoy.held, restarted.envoy.removed, restarted.facts.keeps(CHAT))
    restarted.apply()
    restarted.write_fact()
    assert {"a-0": WEIGHT_TOTAL} == restarted.weights()


async def test_an_endpoint_that_cannot_be_read_can_be_deleted(clock: FakeClock) -> None:
    restarted = RouterHarness(clock)
    restarted.endpoints.put_unreadable(CHAT)
    restarted.router.start()
    restarted.endpoints.put_unreadable(CHAT, deleting=True)
    await restarted.router.reconcile(CHAT)
    assert (["team/chat"], [(CHAT, FINALIZER)]) == (restarted.envoy.removed, restarted.endpoints.released)
    assert not restarted.facts.keeps(CHAT)
