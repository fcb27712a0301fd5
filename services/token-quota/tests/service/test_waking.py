"""Requests for endpoints at zero reach the autoscaler."""

import asyncio

from arks.events.v1.facts_pb2 import ScalingFact
from arks.events.v1.load_pb2 import DemandReport
from arks.kit.cache import Cache, Unreadable
from arks.kit.key import Key
from arks.kit.tasks import cancel
from arks.kit.testing.wait import eventually
from arks.token_quota.domain.access import EndpointState
from arks.token_quota.service.waking import Waking
from arks.token_quota.testing.waking import KeptMessages

ENDPOINT, SCALER = Key("team", "chat"), Key("team", "scaler")


def waking(served_model: str = "chat") -> tuple[Waking, Cache[ScalingFact], KeptMessages]:
    facts: Cache[ScalingFact] = Cache()
    facts.apply(SCALER, ScalingFact(namespace="team", served_model=served_model, start_seconds=42.3))
    kept = KeptMessages()
    return Waking(facts, kept), facts, kept


def test_the_time_to_retry_is_the_measured_start_up_time() -> None:
    found, _, _ = waking()
    assert 43 == found.retry_seconds(ENDPOINT, EndpointState(False))
    assert found.retry_seconds(Key("other", "chat"), EndpointState(False)) is None


def test_an_endpoint_is_found_by_the_model_that_clients_name() -> None:
    assert 43 == waking("org/Chat")[0].retry_seconds(ENDPOINT, EndpointState(False, model="org/Chat"))


def test_a_deleted_autoscaler_wakes_nothing_and_an_unreadable_still_does() -> None:
    found, facts, _ = waking()
    facts.apply(SCALER, Unreadable("newer"))
    assert 43 == found.retry_seconds(ENDPOINT, EndpointState(False))
    facts.apply(SCALER, None)
    assert found.retry_seconds(ENDPOINT, EndpointState(False)) is None


async def test_many_requests_are_one_report() -> None:
    found, _, kept = waking()
    for _ in range(1000):
        found.retry_seconds(ENDPOINT, EndpointState(False, model="m"))
    task = asyncio.create_task(found.run())
    await eventually(lambda: kept.published)
    await cancel(task)
    [(subject, payload)] = kept.published
    assert "arks.demand.team.chat" == subject
    assert DemandReport(namespace="team", endpoint="chat", model="m", refused=1000) == DemandReport.FromString(payload)
