"""The API without a server: requests in granian's form, and their answers."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from arks.kit.testing.clock import FakeClock
from arks.token_quota.api.app import WATCHED_CALLER, Api, Gates
from arks.token_quota.service.lease_changes import LeaseWatch
from arks.token_quota.service.ports.counters import GrantCommand, GrantResult
from arks.token_quota.service.ports.ledger import Ledger
from arks.token_quota.service.reports import Reports
from arks.token_quota.testing.admission import make_admission
from arks.token_quota.testing.fakes import FakeCounters, Harness

KEY = {"authorization": "Bearer sk-tom"}
ADMIT = KEY | {
    "x-arks-gateway": "gw",
    "x-arks-model": "qwen",
    "x-arks-operation": "chat.completions",
    "x-arks-body-bytes": "400",
    "x-arks-stream": "0",
}


class Headers:
    """granian's, from a dict."""

    def __init__(self, values: dict[str, str]) -> None:
        self._values = values

    def get(self, key: str, default: Any = None) -> Any:
        return self._values.get(key, default)


@dataclass
class Request:
    path: str
    method: str
    headers: Headers
    query_string: str
    proto: str = "http"


@dataclass
class Response:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    sent: bytes = b""
    """The request's body."""

    async def __call__(self) -> bytes:
        return self.sent

    async def client_disconnect(self) -> None:
        await self.gone.wait()

    def response_empty(self, status: int, headers: list[tuple[str, str]]) -> None:
        self.status, self.headers = status, dict(headers)

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.status, self.headers, self.body = status, dict(headers), body

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def make(harness: Harness, counters: FakeCounters, ledger: Ledger, clock: FakeClock, gates: Gates | None = None) -> Api:
    admission = make_admission(harness, counters, ledger, clock)
    return Api(admission, LeaseWatch(harness.index, counters, clock), Reports(ledger, counters), gates)


class SlowCounters(FakeCounters):
    """Grants when the test lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.grants = asyncio.Event()

    async def grant(self, command: GrantCommand) -> GrantResult | None:
        await self.grants.wait()
        return await super().grant(command)


def watched_callers() -> int:
    """Return how many calls take so long that it is watched whether their callers are still there."""
    return sum(task.get_name() == WATCHED_CALLER for task in asyncio.all_tasks())
