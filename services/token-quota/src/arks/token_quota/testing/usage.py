"""Usage batches, made in one line, and a stream of them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

from arks.contracts.usage import UsageSource
from arks.kit.errors import Unavailable
from arks.token_quota.domain.batch import ClosedLease, StartedRequest, UsageBatch, UsageRecord

STARTED_AT_MILLISECONDS: Final = 1_767_225_600_000
"""2026-01-01: where a FakeClock begins."""
_NUMBERS = count(1)


def record(request_id: str = "r1", source: UsageSource = UsageSource.ENGINE, **fields: Any) -> UsageRecord:
    """A request of tom to qwen, under lease L1: 100 and 200 tokens reserved, 10 and 20 used."""
    given: dict[str, Any] = {
        "token": "tom",
        "endpoint": "qwen",
        "operation": "chat.completions",
        "started_at_milliseconds": STARTED_AT_MILLISECONDS,
        "prompt_tokens": 10,
        "completion_tokens": 20,
        "duration_milliseconds": 1500,
        "status_code": 200,
        "lease": "L1",
        "reserved_prompt_tokens": 100,
        "reserved_completion_tokens": 200,
    }
    return UsageRecord(request_id=request_id, source=source.message_name, **given | fields)


def reservation(request_id: str = "r1", **fields: Any) -> UsageRecord:
    """The same request, charged its reservation."""
    return record(request_id, UsageSource.RESERVATION, prompt_tokens=100, completion_tokens=200, **fields)


def started(request_id: str = "r1", **fields: Any) -> StartedRequest:
    """The same request in flight."""
    given: dict[str, Any] = {
        "token": "tom",
        "endpoint": "qwen",
        "operation": "chat.completions",
        "lease": "L1",
        "started_at_milliseconds": STARTED_AT_MILLISECONDS,
        "reserved_prompt_tokens": 100,
        "reserved_completion_tokens": 200,
    }
    return StartedRequest(request_id=request_id, **given | fields)


def batch(
    *records: UsageRecord,
    id: str | None = None,  # the field's name
    namespace: str = "team",
    gateway: str = "gw",
    complete_until_milliseconds: int = STARTED_AT_MILLISECONDS,
    started: Sequence[StartedRequest] = (),
    closed: Sequence[ClosedLease] = (),
) -> UsageBatch:
    """With an id of its own, unless one is given."""
    return UsageBatch(
        id=id if id is not None else f"batch-{next(_NUMBERS)}",
        gateway=gateway,
        namespace=namespace,
        complete_until_milliseconds=complete_until_milliseconds,
        records=list(records),
        started=list(started),
        closed_leases=list(closed),
    )


@dataclass
class FakeUsageMessage:
    content: UsageBatch | None
    acked: bool = False

    def batch(self) -> UsageBatch | None:
        return self.content

    async def ack(self) -> None:
        self.acked = True


class FakeUsageStream:
    """Delivers the messages that it is given, group by group, then nothing. Keeps what is published."""

    def __init__(self, *groups: Sequence[FakeUsageMessage]) -> None:
        self._groups = groups
        self.exhausted = asyncio.Event()
        """All messages are acknowledged."""
        self.published: list[UsageBatch] = []
        self.away = False
        self.refused = 0
        """Batches that were not published because the stream was away."""

    async def messages(self) -> AsyncIterator[Sequence[FakeUsageMessage]]:
        for group in self._groups:
            yield group
        self.exhausted.set()
        await asyncio.Event().wait()

    async def publish(self, batch: UsageBatch) -> None:
        if self.away:
            self.refused += 1
            raise Unavailable("the usage stream is away")
        self.published.append(batch)
