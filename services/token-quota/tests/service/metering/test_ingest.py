from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any

import pytest

from arks.kit.testing.wait import eventually
from arks.token_quota.adapters.ledger import SqlLedger
from arks.token_quota.service.metering.context import MeteringContext
from arks.token_quota.service.metering.ingest import Ingest
from arks.token_quota.service.metering.projector import Projector
from arks.token_quota.service.ports.ledger import UsageFilter
from arks.token_quota.testing.fakes import BrokenLedger, FakeCounters, Harness
from arks.token_quota.testing.usage import (
    STARTED_AT_MILLISECONDS,
    FakeUsageMessage,
    FakeUsageStream,
    batch,
    record,
    reservation,
)

Running = Callable[[Any], AbstractAsyncContextManager[None]]
IngestBatches = Callable[..., Awaitable[None]]


async def test_batches_are_posted_to_the_budget_of_their_token_and_acknowledged(
    context: MeteringContext, running: Running, ledger: SqlLedger, harness: Harness
) -> None:
    once = batch(record())
    messages = [FakeUsageMessage(content) for content in (once, once, None)]
    stream = FakeUsageStream(messages)
    async with running(Ingest(stream, context, Projector(context, 60)).run()):
        await stream.exhausted.wait()
    assert [True, True, True] == [message.acked for message in messages]
    (row,) = await ledger.usage_sums(UsageFilter(quota="q"), ["quota"])
    assert (1, 10, 20) == (row.requests, row.prompt_tokens, row.completion_tokens)
    assert [1, 1, 1] == [
        harness.metric("arks_usage_records_total", outcome=outcome) for outcome in ("posted", "known", "not_understood")
    ]


async def test_dashboards_find_requests_and_tokens_under_their_known_names(
    ingest: IngestBatches, harness: Harness
) -> None:
    await ingest(batch(record("r1"), record("r2", status_code=503)), batch(record("r3")))
    who = {"namespace": "team", "user": "tom", "model": "qwen"}
    assert 2 == harness.metric("gateway_requests_total", **who, status="200")
    assert 1 == harness.metric("gateway_requests_total", **who, status="503")
    assert 3 == harness.metric("gateway_request_duration_seconds_bucket", **who, le="2.0")
    tokens = {"namespace": "team", "user": "tom", "token": "qwen"}
    assert 60 == harness.metric("gateway_token_usage_total", **tokens, type="output")
    assert 3 == harness.metric("gateway_token_distribution_bucket", **tokens, type="input", le="16.0")


async def test_a_correction_is_no_further_request_on_dashboards(ingest: IngestBatches, harness: Harness) -> None:
    await ingest(batch(reservation()))
    await ingest(batch(record(was_reported_started=True)))
    who = {"namespace": "team", "user": "tom", "model": "qwen"}
    assert 1 == harness.metric("gateway_requests_total", **who, status="200")
    assert 1 == harness.metric("arks_reservations_charged_total")


async def test_the_age_of_the_newest_record_is_that_of_its_end(ingest: IngestBatches, harness: Harness) -> None:
    starts = {"r1": STARTED_AT_MILLISECONDS - 5000, "r2": 0}
    await ingest(batch(*(record(request_id, started_at_milliseconds=at) for request_id, at in starts.items())))
    assert 3.5 == harness.metric("arks_usage_record_age_seconds")


async def test_counters_are_brought_forward_after_the_commit(
    context: MeteringContext, projector: Projector, running: Running, counters: FakeCounters
) -> None:
    stream = FakeUsageStream([FakeUsageMessage(batch(record()))])
    async with running(projector.run()), running(Ingest(stream, context, projector).run()):
        await eventually(lambda: counters.applied)


async def test_nothing_is_acknowledged_before_the_ledger_has_it(
    context: MeteringContext, running: Running, ledger: SqlLedger, monkeypatch: pytest.MonkeyPatch, harness: Harness
) -> None:
    monkeypatch.setattr("arks.token_quota.service.metering.ingest.RETRY_SECONDS", 0.0)
    broken, message = BrokenLedger(ledger), FakeUsageMessage(batch(record()))
    stream = FakeUsageStream([message])
    context = replace(context, ledger=broken)
    async with running(Ingest(stream, context, Projector(context, 60)).run()):
        await eventually(lambda: (harness.metric("arks_ledger_errors_total") or 0) > 2)
        assert not message.acked
        broken.broken = False
        await stream.exhausted.wait()
    assert message.acked
