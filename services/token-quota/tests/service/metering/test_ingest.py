"""Metering on a real SQLite ledger, with counters that a test can lose, hold back or wipe."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest

from arks.contracts.usage import UsageSource
from arks.kit.testing.clock import FakeClock
from arks.kit.testing.wait import eventually
from arks.token_quota.adapters.ledger import SqlLedger
from arks.token_quota.domain.reservation import Reservation
from arks.token_quota.domain.time import Moment
from arks.token_quota.domain.usage import Usage
from arks.token_quota.service.metering.context import MeteringContext
from arks.token_quota.service.metering.ingest import Ingest
from arks.token_quota.service.metering.projector import Projector
from arks.token_quota.service.metering.pruner import Pruner
from arks.token_quota.service.metering.sweeper import Sweeper
from arks.token_quota.service.ports.ledger import UsageFilter
from arks.token_quota.service.ports.usage_stream import UsageMessage
from arks.token_quota.service.release_queue import Release, ReleaseQueue
from arks.token_quota.testing.fakes import BrokenLedger, FakeCounters, Harness, quota, token

USAGE = Usage(
    request_id="r1",
    namespace="team",
    token="tom",
    endpoint="qwen",
    quota="",
    operation="completions",
    source=UsageSource.ENGINE,
    started_at_milliseconds=1_767_225_600_000,
    prompt_tokens=10,
    completion_tokens=20,
    status_code=200,
    duration_milliseconds=1500,
)
RESERVATION = Reservation("r1", "team", "tom", "qwen", "completions", "q", 1_767_225_600_000, 100, 200)


class Message:
    def __init__(self, usage: Usage | None) -> None:
        self._usage = usage
        self.acked = False

    def usage(self) -> Usage | None:
        return self._usage

    async def ack(self) -> None:
        self.acked = True


class Stream:
    """Gives its batches, then nothing forever."""

    def __init__(self, *batches: list[Message]) -> None:
        self._batches = batches
        self.exhausted = asyncio.Event()

    async def batches(self) -> AsyncIterator[Sequence[UsageMessage]]:
        for batch in self._batches:
            yield batch
        self.exhausted.set()
        await asyncio.Event().wait()


@pytest.fixture
def context(harness: Harness, counters: FakeCounters, ledger: SqlLedger, clock: FakeClock) -> MeteringContext:
    harness.add(token(qos=[{"arksEndpoint": {"name": "qwen"}, "quota": {"name": "q"}}]), quota())
    return MeteringContext(harness.index, counters, ledger, harness.metrics, clock)


@pytest.fixture
def projector(context: MeteringContext) -> Projector:
    return Projector(context, interval_seconds=60)


async def ingest(context: MeteringContext, *batches: list[Message]) -> None:
    stream = Stream(*batches)
    running = asyncio.create_task(Ingest(stream, context, Projector(context, 60)).run())
    await stream.exhausted.wait()
    await ended(running)


async def total(ledger: SqlLedger) -> tuple[int, int, int]:
    rows = await ledger.usage_sums(UsageFilter(), [])
    return (rows[0].requests, rows[0].prompt_tokens, rows[0].completion_tokens) if rows else (0, 0, 0)


async def ended(task: "asyncio.Task[None]") -> None:
    """Cancelled, and then awaited: SQLite's thread has to finish what it does before the loop may close."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_records_are_posted_to_the_budget_of_their_token_and_acknowledged(
    context: MeteringContext, ledger: SqlLedger, harness: Harness
) -> None:
    messages = [Message(USAGE), Message(USAGE), Message(None)]
    await ingest(context, messages)
    assert [True, True, True] == [message.acked for message in messages]
    (row,) = await ledger.usage_sums(UsageFilter(quota="q"), ["quota"])
    assert (1, 10, 20) == (row.requests, row.prompt_tokens, row.completion_tokens)
    assert [1, 1, 1] == [
        harness.metric("arks_usage_records_total", outcome=outcome) for outcome in ("posted", "known", "not_understood")
    ]


async def test_dashboards_find_requests_and_tokens_under_their_known_names(
    context: MeteringContext, harness: Harness
) -> None:
    await ingest(context, [Message(USAGE), Message(replace(USAGE, request_id="r2", status_code=503))])
    who = {"namespace": "team", "user": "tom", "model": "qwen"}
    assert 1 == harness.metric("gateway_requests_total", **who, status="200")
    assert 1 == harness.metric("gateway_requests_total", **who, status="503")
    assert 2 == harness.metric("gateway_request_duration_seconds_bucket", **who, le="2.0")
    assert 40 == harness.metric("gateway_token_usage_total", namespace="team", user="tom", token="qwen", type="output")


async def test_nothing_is_acknowledged_before_the_ledger_has_it(
    context: MeteringContext, ledger: SqlLedger, monkeypatch: pytest.MonkeyPatch, harness: Harness
) -> None:
    monkeypatch.setattr("arks.token_quota.service.metering.ingest.RETRY_SECONDS", 0.0)
    broken = BrokenLedger(ledger)
    message, stream = Message(USAGE), Stream([Message(None)])
    stream = Stream([message])
    context = replace(context, ledger=broken)
    running = asyncio.create_task(Ingest(stream, context, Projector(context, 60)).run())
    await eventually(lambda: (harness.metric("arks_ledger_errors_total") or 0) > 2)
    assert not message.acked
    broken.broken = False
    await stream.exhausted.wait()
    await ended(running)
    assert message.acked


async def test_counters_follow_the_ledger_in_order(
    projector: Projector, ledger: SqlLedger, counters: FakeCounters, noon: Moment
) -> None:
    await ledger.post([replace(USAGE, request_id=f"r{n}") for n in range(450)], noon)
    await projector.bring_forward("team")
    assert [f"r{n}" for n in range(450)] == [entry.request_id for entry in counters.applied]


async def test_an_entry_is_applied_once_by_two_replicas(
    context: MeteringContext, ledger: SqlLedger, counters: FakeCounters, noon: Moment
) -> None:
    ours, theirs = Projector(context, 60), Projector(context, 60)
    for number in range(3):
        await ledger.post([replace(USAGE, request_id=f"r{number}")], noon)
        await (ours if number % 2 else theirs).bring_forward("team")
    await ours.bring_forward("team")
    assert ["r0", "r1", "r2"] == [entry.request_id for entry in counters.applied]


async def test_a_restarted_service_applies_entries_that_its_predecessor_did_not(
    projector: Projector, ledger: SqlLedger, counters: FakeCounters, noon: Moment
) -> None:
    await ledger.post([USAGE], noon)
    running = asyncio.create_task(projector.run())
    await eventually(lambda: counters.applied)
    await ended(running)


async def test_while_redis_is_away_entries_wait_and_are_applied_when_it_is_back(
    projector: Projector, ledger: SqlLedger, counters: FakeCounters, noon: Moment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("arks.token_quota.service.metering.projector.RETRY_SECONDS", 0.0)
    counters.away = True
    await ledger.post([USAGE], noon)
    running = asyncio.create_task(projector.run())
    projector.wake(["team"])
    await asyncio.sleep(0.01)
    counters.away = False
    await eventually(lambda: counters.applied)
    await ended(running)


async def test_a_wiped_redis_is_not_charged_again_for_what_its_new_counters_contain(
    projector: Projector, ledger: SqlLedger, counters: FakeCounters, noon: Moment
) -> None:
    await ledger.post([USAGE], noon)
    counters.lost = True
    counters.epoch = replace(counters.epoch, cursor=0)
    await projector.bring_forward("team")
    assert ["r1"] == [entry.request_id for entry in counters.applied]


async def test_counters_that_are_ahead_of_the_ledger_are_begun_again(
    projector: Projector, ledger: SqlLedger, counters: FakeCounters, noon: Moment
) -> None:
    counters.epoch = replace(counters.epoch, cursor=1000)
    await ledger.post([USAGE], noon)
    await projector.bring_forward("team")
    assert ("e1+", 1) == (counters.epoch.id, counters.epoch.cursor)


def sweeper(context: MeteringContext, projector: Projector, releases: ReleaseQueue | None = None) -> Sweeper:
    return Sweeper(context, projector, releases if releases is not None else ReleaseQueue(), interval_seconds=60)


async def test_a_request_without_usage_is_charged_its_reservation(
    context: MeteringContext, projector: Projector, ledger: SqlLedger, counters: FakeCounters, harness: Harness
) -> None:
    counters.due = [RESERVATION]
    await sweeper(context, projector).sweep()
    assert (1, 100, 200) == await total(ledger)
    assert ["r1"] == [entry.request_id for entry in counters.applied]
    assert 1 == harness.metric("arks_reservations_charged_total")


async def test_a_true_record_that_comes_late_replaces_the_charge(
    context: MeteringContext, projector: Projector, ledger: SqlLedger, counters: FakeCounters
) -> None:
    counters.due = [RESERVATION]
    await sweeper(context, projector).sweep()
    await ingest(context, [Message(USAGE)])
    assert (1, 10, 20) == await total(ledger)
    await projector.bring_forward("team")
    assert (10, 20) == (
        sum(entry.prompt_tokens for entry in counters.applied),
        sum(entry.completion_tokens for entry in counters.applied),
    )


async def test_a_reservation_whose_request_was_charged_already_is_given_back(
    context: MeteringContext, projector: Projector, ledger: SqlLedger, counters: FakeCounters, noon: Moment
) -> None:
    await ledger.post([USAGE], noon)
    counters.due = [RESERVATION]
    await sweeper(context, projector).sweep()
    assert ((1, 10, 20), ["r1"]) == (await total(ledger), counters.released)


async def test_reservations_of_requests_that_were_refused_after_all_are_given_back(
    context: MeteringContext, projector: Projector, counters: FakeCounters, ledger: SqlLedger
) -> None:
    releases = ReleaseQueue()
    releases.extend([Release("team", "r1"), Release("team", "r2")])
    await sweeper(context, projector, releases).sweep()
    assert (["r1", "r2"], [], (0, 0, 0)) == (counters.released, list(releases), await total(ledger))


async def test_entries_are_kept_for_as_many_days_as_set(
    context: MeteringContext, ledger: SqlLedger, noon: Moment
) -> None:
    day = 86_400_000
    await ledger.post([USAGE], Moment(noon.milliseconds - 90 * day - 1))
    await ledger.post([replace(USAGE, request_id="r2")], Moment(noon.milliseconds - 90 * day))
    assert [0, 1, 0] == [await Pruner(context.ledger, context.clock, keep_days=days).prune() for days in (91, 90, 90)]
