"""Rollouts of endpoints: shares, statuses, events, and who is counted where."""

from arks.contracts.conditions import find_condition
from arks.contracts.facts import ReplicaState
from arks.contracts.resources import ArksEndpointStatus
from arks.endpoint_router.service.rollouts import Ended
from arks.endpoint_router.testing.harness import CHAT, RouterHarness

ROLLOUT = {"canary": "b", "steps": [10], "stepSeconds": 60, "minimumRequests": 100}


async def rolling_out(serving: RouterHarness, **more: object) -> ArksEndpointStatus:
    serving.write_fact("b", [ReplicaState.READY])
    serving.apply(rollout=ROLLOUT | more)
    return await reconciled(serving)


async def reconciled(serving: RouterHarness) -> ArksEndpointStatus:
    """Write the status, which the watch returns."""
    await serving.router.reconcile(CHAT)
    resource = serving.endpoints.cache.get(CHAT)
    assert resource is not None
    status: ArksEndpointStatus = serving.endpoints.statuses[-1]
    serving.endpoints.put(resource.model_copy(update={"status": status}))
    return status


def end(serving: RouterHarness, *, canary: int, others: int, failed: bool = False) -> None:
    for _ in range(canary):
        serving.router.handle_request(CHAT, Ended("127.0.0.1:9100", failed))
    for _ in range(others):
        serving.router.handle_request(CHAT, Ended("127.0.0.1:9000", failed=False))


def canary_weight(serving: RouterHarness) -> int:
    return serving.weights()["b-0"]


async def test_a_canary_gets_its_percentage_whatever_the_weights_are(serving: RouterHarness) -> None:
    status = await rolling_out(serving)
    assert 10_000 == canary_weight(serving)
    assert status.rollout is not None
    progressing = find_condition(status.conditions, "Progressing")
    assert progressing is not None
    assert (10, "True", "Step") == (status.rollout.percent, progressing.status, progressing.reason)


async def test_until_it_has_begun_the_canary_gets_nothing(serving: RouterHarness) -> None:
    serving.write_fact("b", [ReplicaState.READY])
    serving.apply(rollout=ROLLOUT)
    assert 0 == canary_weight(serving)


async def test_a_canary_that_answers_well_gets_all_and_an_event_names_it(serving: RouterHarness) -> None:
    await rolling_out(serving)
    end(serving, canary=100, others=900)
    serving.clock.advance(61)
    status = await reconciled(serving)
    assert 100_000 == canary_weight(serving)
    assert status.rollout is not None
    assert ("Promoted", {"a-0": 0, "a-1": 0, "b-0": 100_000}) == (status.rollout.phase, serving.weights())
    assert ["rollout-step", "rollout-promoted"] == [verb for verb in serving.events.verbs if "rollout" in verb]


async def test_a_canary_that_fails_loses_its_share_and_does_not_get_it_back(serving: RouterHarness) -> None:
    await rolling_out(serving)
    end(serving, canary=100, others=900, failed=True)
    await reconciled(serving)
    end(serving, canary=500, others=900)
    serving.clock.advance(600)
    status = await reconciled(serving)
    assert status.rollout is not None
    assert ("RolledBack", "100.0% server errors against 0.0%", 0) == (
        *(status.rollout.phase, status.rollout.message),
        canary_weight(serving),
    )


async def test_requests_of_another_step_or_address_do_not_count(serving: RouterHarness) -> None:
    await rolling_out(serving, steps=[10, 50])
    end(serving, canary=100, others=100)
    serving.clock.advance(61)
    await reconciled(serving)
    serving.router.handle_request(CHAT, Ended("10.0.0.9:1", failed=True))
    serving.clock.advance(61)
    status = await reconciled(serving)
    assert status.rollout is not None
    assert (50, "0 requests of the canary and 0 of the others have ended; each needs 100") == (
        status.rollout.percent,
        status.rollout.message,
    )


async def test_without_a_rollout_the_weights_count_again_and_nothing_is_counted(serving: RouterHarness) -> None:
    await rolling_out(serving)
    assert serving.router.counts_requests
    serving.apply()
    status = await reconciled(serving)
    assert (50_000, None, False) == (canary_weight(serving), status.rollout, serving.router.counts_requests)


async def test_a_canary_that_is_no_application_of_the_endpoint_is_reported(serving: RouterHarness) -> None:
    serving.apply(rollout=ROLLOUT)
    status = await reconciled(serving)
    accepted = find_condition(status.conditions, "Accepted")
    assert accepted is not None
    assert "rollout: b is not an application of this endpoint" == accepted.message
