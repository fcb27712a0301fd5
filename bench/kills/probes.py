"""Small steady observers: when usage is visible, and whether keys without budget stay rejected."""

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from bench.kills.system import MODEL, PROBE_KEY, Kill, System, now

POLL_SECONDS = 0.02
GUARD_SECONDS = 0.1
QUIET_MILLISECONDS = 3000
"""After a process is up again: what waited meanwhile takes this long."""


@dataclass(frozen=True)
class Sample:
    ended: int
    visible: int
    """Both milliseconds since 1970."""

    def is_quiet(self, kills: Sequence[Kill]) -> bool:
        """Whether nothing was away meanwhile."""
        return not any(kill.at <= self.visible and self.ended <= kill.up + QUIET_MILLISECONDS for kill in kills)


@dataclass
class VisibleUsage:
    """Sends a request and polls `arks usage` until it is there; then the next."""

    running: System
    known: int = 0
    """Requests that are visible."""
    samples: list[Sample] = field(default_factory=list)

    async def run(self, stop: asyncio.Event) -> None:
        async with aiohttp.ClientSession() as client:
            while not stop.is_set():
                if await post(client, self.running, PROBE_KEY) == 200:
                    await self._until_visible(now(), stop)
                else:
                    await asyncio.sleep(GUARD_SECONDS)

    async def _until_visible(self, ended: int, stop: asyncio.Event) -> None:
        """A request that had no answer may be charged later and end a sample early: only while an Envoy is killed."""
        while not stop.is_set():
            known = await self.requests() or 0
            if known > self.known:
                self.known = known
                self.samples.append(Sample(ended, now()))
                return
            await asyncio.sleep(POLL_SECONDS)

    async def requests(self) -> int | None:
        try:
            found: Any = await self.running.usage(namespace="default", token="probe")  # noqa: S106  # a name, no secret
        except aiohttp.ClientError:
            return None
        return int(found["total"]["requests"])


@dataclass
class Guard:
    """A key whose limit is used up: no kill may let it pass."""

    running: System
    key: str
    name: str
    statuses: Counter[int] = field(default_factory=Counter)
    passed: list[int] = field(default_factory=list)
    """Times."""

    async def use_up(self) -> None:
        """Send requests until they are rejected for a second: what was reserved and not used has returned."""
        async with aiohttp.ClientSession() as client:
            rejected = 0
            while rejected < 20:
                rejected = rejected + 1 if await post(client, self.running, self.key) == 429 else 0
                await asyncio.sleep(0.1)

    async def run(self, stop: asyncio.Event) -> None:
        async with aiohttp.ClientSession() as client:
            while not stop.is_set():
                status = await post(client, self.running, self.key)
                self.statuses[status] += 1
                if status == 200:
                    self.passed.append(now())
                await asyncio.sleep(GUARD_SECONDS)


async def post(client: aiohttp.ClientSession, running: System, key: str) -> int:
    """Status of one short completion; 0 if there is no answer."""
    body = {"model": MODEL, "max_tokens": 8, "messages": [{"role": "user", "content": "hi"}]}
    url, headers = f"http://127.0.0.1:{running.gateway_port}/v1/chat/completions", {"authorization": f"Bearer {key}"}
    try:
        async with client.post(url, data=json.dumps(body), headers=headers) as answer:
            await answer.read()
            return answer.status
    except (aiohttp.ClientError, TimeoutError):
        return 0
