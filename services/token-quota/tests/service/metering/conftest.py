"""Metering on a real SQLite ledger, with counters that a test can lose, hold back or wipe."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from arks.kit.testing.clock import FakeClock
from arks.token_quota.adapters.ledger import SqlLedger
from arks.token_quota.domain.batch import UsageBatch
from arks.token_quota.service.metering.context import MeteringContext
from arks.token_quota.service.metering.ingest import Ingest
from arks.token_quota.service.metering.projector import Projector
from arks.token_quota.service.ports.ledger import UsageFilter
from arks.token_quota.testing.fakes import FakeCounters, Harness, quota, token
from arks.token_quota.testing.usage import FakeUsageMessage, FakeUsageStream

Running = Callable[[Any], AbstractAsyncContextManager[None]]
"""Runs a coroutine beside the test. Awaits it after it is cancelled: SQLite's thread has to finish what it does before
the loop may close.
"""
IngestBatches = Callable[..., Awaitable[None]]
"""Brings batches from the stream into the ledger."""
Total = Callable[[], Awaitable[tuple[int, int, int]]]
"""Requests, prompt and completion tokens in the ledger."""


@pytest.fixture
def context(harness: Harness, counters: FakeCounters, ledger: SqlLedger, clock: FakeClock) -> MeteringContext:
    harness.add(token(qos=[{"arksEndpoint": {"name": "qwen"}, "quota": {"name": "q"}}]), quota())
    return MeteringContext(harness.charged_quotas, harness.budgets, counters, ledger, harness.metering_metrics, clock)


@pytest.fixture
def projector(context: MeteringContext) -> Projector:
    return Projector(context, interval_seconds=60)


@pytest.fixture
def running() -> Running:
    @asynccontextmanager
    async def run(coroutine: Any) -> AsyncIterator[None]:
        task = asyncio.create_task(coroutine)
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    return run


@pytest.fixture
def ingest(context: MeteringContext, running: Running) -> IngestBatches:
    async def ingest_all(*batches: UsageBatch) -> None:
        stream = FakeUsageStream([FakeUsageMessage(batch) for batch in batches])
        async with running(Ingest(stream, context, Projector(context, 60)).run()):
            await stream.exhausted.wait()

    return ingest_all


@pytest.fixture
def total(ledger: SqlLedger) -> Total:
    async def sums() -> tuple[int, int, int]:
        rows = await ledger.usage_sums(UsageFilter(), [])
        return (rows[0].requests, rows[0].prompt_tokens, rows[0].completion_tokens) if rows else (0, 0, 0)

    return sums
