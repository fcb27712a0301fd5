"""Autoscalers with everything around them played by fakes: decisions become facts, statuses and events."""

from dataclasses import replace
from typing import Any

import pytest

from arks.events.v1.facts_pb2 import ScalingFact
from arks.kit.errors import Unavailable
from arks.kit.key import Key
from arks.kit.reconcile import Requeue
from arks.kit.testing.clock import FakeClock
from arks.kit.testing.fakes import FakeFacts
from arks.metrics.domain.scaling.limits import Limit
from arks.metrics.domain.scaling.traffic import Ended
from arks.metrics.service.scaling.autoscalers import figures_seconds
from arks.metrics.testing.scaling import APPLICATION, SCALER, FakePodAutoscalers, Harness


@pytest.fixture
def harness(clock: FakeClock) -> Harness:
    return Harness(clock)


@pytest.fixture
def pods(harness: Harness) -> FakePodAutoscalers:
    """Autoscalers act through HorizontalPodAutoscalers."""
    harness.pod_autoscalers = FakePodAutoscalers()
    harness.restart()
    return harness.pod_autoscalers


async def test_a_decision_becomes_a_fact_a_status_and_an_event(harness: Harness) -> None:
    harness.apply()
    harness.serve(1, running=4)
    await harness.pass_()
    assert 2 == harness.wanted
    assert (1, 2, "Load") == (harness.status.replicas, harness.status.wanted_replicas, harness.status.reason)
    assert [100] == [objective.current for objective in harness.status.objectives]
    assert ["scaled"] == harness.published.verbs
    assert "from 1 to 2" in harness.published.published[0].event.message


async def test_advice_is_written_and_never_carried_out(harness: Harness) -> None:
    harness.apply(mode="Advise")
    harness.serve(1, running=4)
    await harness.pass_(30)
    assert harness.wanted is None
    assert 2 == harness.status.wanted_replicas
    assert ["advised"] == harness.published.verbs


async def test_a_request_that_finds_no_replica_wakes_its_application(harness: Harness) -> None:
    harness.apply(minReplicas=0, idleSeconds=60)
    harness.serve(1)
    await harness.pass_(70)
    assert (0, "Idle") == (harness.wanted, harness.status.reason)
    harness.serve(0)
    await harness.pass_()
    assert {APPLICATION} == harness.applications.take_refused("default", {"chat-model", "m"}, 2)
    await harness.pass_()
    assert (1, "RequestsWait") == (harness.wanted, harness.status.reason)


async def test_the_status_has_the_requests_that_wait_until_none_does(harness: Harness) -> None:
    harness.apply(minReplicas=0, idleSeconds=60)
    harness.serve(0)
    await harness.pass_()
    harness.applications.take_held("default", {"m"}, "one", 3, 12.0)
    assert Requeue(5.0) == await harness.scalers.reconcile(SCALER)
    held, now = harness.status.held, harness.clock.now().replace(microsecond=0)
    assert held is not None and held.since is not None and held.expected_time is not None
    assert (3, "m", 12.0) == (held.requests, held.model, (now - held.since).total_seconds())
    assert harness.status.start_seconds == (held.expected_time - held.since).total_seconds()
    harness.applications.take_held("default", {"m"}, "one", 0, 0.0)
    await harness.pass_()
    assert harness.status.held is None


async def test_a_page_that_stands_still_under_traffic_keeps_the_replicas(harness: Harness) -> None:
    harness.apply(scaleDown={"windowSeconds": 10})
    harness.serve(1, running=4)
    await harness.pass_()
    harness.serve(2, running=0, tokens=7)
    for _ in range(40):
        harness.applications.take("default", "m", Ended("127.0.0.1:9000", 10))
        await harness.pass_()
    assert (2, "SignalsDoubtful") == (harness.wanted, harness.status.reason)
    assert [None] == [objective.current for objective in harness.status.objectives]


async def test_the_start_of_a_replica_is_measured(harness: Harness) -> None:
    harness.apply()
    harness.serve(1, starting=1)
    harness.clock.advance(42)
    harness.serve(2)
    await harness.pass_()
    assert 42 == harness.status.start_seconds


async def test_a_restart_keeps_the_number_and_what_was_measured(harness: Harness) -> None:
    harness.apply()
    harness.serve(1, running=12)
    await harness.pass_()
    assert 5 == harness.wanted
    harness.facts = FakeFacts[ScalingFact](harness.clock)
    harness.restart()
    harness.serve(5, running=2)
    await harness.pass_(60)
    assert 5 == harness.wanted


async def test_the_maximum_is_a_condition(harness: Harness) -> None:
    harness.apply(maxReplicas=2)
    harness.serve(1, running=16)
    await harness.pass_()
    limited = next(condition for condition in harness.status.conditions if condition.type == "Limited")
    assert ("True", "AtMaximum") == (limited.status, limited.reason)
    assert "maximum 2, 8 needed" in limited.message


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"target": {"name": "none"}}, "NoApplication"),
        ({"schedules": [{"name": "s", "start": "61 * * * *", "end": "0 0 * * *"}]}, "InvalidSchedule"),
        (
            {"schedules": [{"name": "s", "start": "1 * * * *", "end": "0 0 * * *", "timeZone": "Mars"}]},
            "InvalidSchedule",
        ),
    ],
)
async def test_what_cannot_be_decided_is_a_reason(harness: Harness, spec: dict[str, Any], reason: str) -> None:
    harness.apply(**spec)
    harness.serve(1)
    await harness.pass_()
    assert (reason, None) == (harness.status.reason, harness.wanted)
    assert ["False"] == [c.status for c in harness.status.conditions if c.type == "Ready"]


async def test_a_second_autoscaler_of_an_application_does_nothing(harness: Harness) -> None:
    harness.apply("another")
    harness.apply()
    harness.serve(1)
    await harness.pass_()
    assert ("OtherAutoscaler", None) == (harness.status.reason, harness.wanted)


async def test_a_deletion_removes_the_fact_and_an_unreadable_spec_keeps_it(harness: Harness) -> None:
    harness.apply()
    harness.serve(1)
    await harness.pass_()
    harness.autoscalers.put_unreadable(SCALER)
    await harness.pass_()
    assert 1 == harness.wanted
    harness.autoscalers.remove(SCALER)
    assert await harness.scalers.reconcile(SCALER) is None
    assert harness.wanted is None


async def test_figures_alone_are_written_once_a_minute(harness: Harness) -> None:
    harness.apply()
    harness.serve(1, running=1)
    await harness.pass_()
    written = len(harness.autoscalers.statuses)
    for step in range(24):
        harness.serve(1, running=1 + step % 2 / 2)
        await harness.pass_()
    assert len(harness.autoscalers.statuses) - written <= 3


def test_of_many_autoscalers_at_most_eight_a_second_write_figures() -> None:
    assert [60.0, 60.0, 125.0] == [figures_seconds(number) for number in (1, 480, 1000)]


async def test_a_schedule_is_carried_out_a_start_up_time_earlier(harness: Harness) -> None:
    at = harness.clock.now()
    start = f"{(at.minute + 3) % 60} {at.hour} * * *"
    harness.apply(schedules=[{"name": "s", "start": start, "end": "0 23 * * *", "minReplicas": 3}])
    harness.serve(1)
    await harness.pass_(60)
    assert 1 == harness.wanted
    await harness.pass_(75)
    assert 3 == harness.wanted
    assert "minimum 3 (schedule s)" in harness.published.published[-1].event.message


def test_requests_are_counted_by_the_replica_that_answered(harness: Harness) -> None:
    harness.serve(1)
    for _ in range(6):
        harness.applications.take("default", "m", Ended("127.0.0.1:9000", 10, 20, 0.5, 0.02))
    harness.applications.take("default", "m", Ended("10.0.0.9:1", 30))
    seen = harness.applications.observed(APPLICATION)
    assert (6.0, 180.0, 0.5, 0.02) == (
        seen.finished,
        seen.tokens,
        seen.first_token_seconds,
        seen.inter_token_seconds,
    )
    assert replace(seen, at=0.0).refused == 0


@pytest.mark.parametrize(("runtime", "reserved"), [("llamacpp", True), ("ark", True), ("vllm", False), ("mine", False)])
def test_only_some_engines_have_memory_for_each_slot(harness: Harness, runtime: str, reserved: bool) -> None:
    harness.serve(2, runtime=runtime)
    seen = harness.applications.observed(APPLICATION)
    assert (8, reserved) == (seen.slots, seen.slots_reserved)


async def test_what_keeps_replicas_from_running_is_a_limit_while_they_are_missing(harness: Harness) -> None:
    harness.apply()
    harness.serve(1, running=4, missing="FailedCreate")
    await harness.pass_()
    assert ("True", "FailedCreate", "why FailedCreate") == harness.limited
    harness.serve(2, running=2, missing="FailedCreate")
    await harness.pass_()
    assert "False" == harness.limited[0]


async def test_a_fact_names_the_horizontal_pod_autoscaler_that_carries_it_out(
    harness: Harness, pods: FakePodAutoscalers
) -> None:
    harness.apply()
    harness.serve(1, running=4)
    await harness.pass_()
    fact = harness.facts.get(SCALER)
    assert fact is not None
    assert (2, True) == (fact.replicas, fact.by_horizontal_pod_autoscaler)
    assert ["chat"] == pods.carried_out


async def test_one_that_is_switched_off_hands_the_number_back_to_app_deployer(
    harness: Harness, pods: FakePodAutoscalers
) -> None:
    harness.apply()
    harness.serve(1, running=4)
    await harness.pass_()
    harness.pod_autoscalers = None
    harness.restart()
    await harness.pass_()
    fact = harness.facts.get(SCALER)
    assert fact is not None
    assert not fact.by_horizontal_pod_autoscaler


async def test_advice_has_no_horizontal_pod_autoscaler(harness: Harness, pods: FakePodAutoscalers) -> None:
    harness.apply(mode="Advise")
    harness.serve(1, running=4)
    await harness.pass_()
    assert ([], {SCALER}) == (pods.carried_out, set(pods.removed))


async def test_what_is_deleted_or_comes_second_has_no_horizontal_pod_autoscaler(
    harness: Harness, pods: FakePodAutoscalers
) -> None:
    harness.apply()
    harness.apply("later")
    harness.serve(1)
    await harness.scalers.reconcile(Key("default", "later"))
    harness.autoscalers.remove(SCALER)
    await harness.scalers.reconcile(SCALER)
    assert [Key("default", "later"), SCALER] == pods.removed
    assert [] == pods.carried_out


async def test_a_horizontal_pod_autoscaler_that_does_not_act_is_a_limit(
    harness: Harness, pods: FakePodAutoscalers
) -> None:
    harness.apply()
    harness.serve(1, running=4)
    pods.limit = Limit("HorizontalPodAutoscalerInactive", "FailedGetExternalMetric: no answer")
    await harness.pass_()
    assert ("True", pods.limit.reason, pods.limit.message) == harness.limited
    pods.fault = Unavailable("the API server does not answer")
    await harness.pass_()
    assert ("True", "HorizontalPodAutoscalerInactive", "the API server does not answer") == harness.limited
    assert 2 == harness.wanted
