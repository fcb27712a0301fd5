"""Clients at a fixed rate: a third of the requests stream, a tenth hang up."""

import asyncio
import json
import random
import time
from collections.abc import Sequence

import aiohttp

from bench.kills.outcome import Outcome

STREAMED, HUNG_UP = 1 / 3, 1 / 10
MAX_TOKENS = 16
MOST_EVENTS = 6
"""Before a client hangs up."""
TIMEOUT_SECONDS = 30.0


class Clients:
    """Each request has one of the keys, and keeps no order with others."""

    def __init__(self, port: int, model: str, keys: Sequence[str], rate: float) -> None:
        self.outcomes: list[Outcome] = []
        self._url = f"http://127.0.0.1:{port}/v1/chat/completions"
        self._model = model
        self._keys = keys
        self._rate = rate
        self._dice = random.Random(7)  # noqa: S311  # a fixed mix, no secret

    async def run(self, requests: int) -> None:
        """Returns when all have ended."""
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        began = time.monotonic()
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session, asyncio.TaskGroup() as group:
            for number in range(requests):
                await asyncio.sleep(began + number / self._rate - time.monotonic())
                group.create_task(self._send(session, number))

    async def _send(self, session: aiohttp.ClientSession, number: int) -> None:
        streams, hangs_up = self._dice.random() < STREAMED, self._dice.random() < HUNG_UP
        max_tokens = self._dice.randint(1, MAX_TOKENS)
        body = {
            "model": self._model,
            "max_tokens": max_tokens,
            "messages": [{"role": "user", "content": "question " * self._dice.randint(1, 12)}],
            **({"stream": True} if streams else {}),
            **({"stream_options": {"include_usage": True}} if streams and self._dice.random() < 0.5 else {}),
        }
        data = json.dumps(body).encode()
        outcome = Outcome(number, streams, max_tokens, len(data), _now(), hung_up=hangs_up)
        self.outcomes.append(outcome)
        headers = {"authorization": f"Bearer {self._keys[number % len(self._keys)]}"}
        most = self._dice.randint(0, MOST_EVENTS) if hangs_up else None
        try:
            if most == 0 or (hangs_up and not streams):
                async with asyncio.timeout(self._dice.uniform(0.0, 0.02)):
                    await self._receive(session, outcome, data, headers, None)
            else:
                await self._receive(session, outcome, data, headers, most)
        except (aiohttp.ClientError, TimeoutError):
            pass  # a connection that failed, or a client that hung up
        outcome.ended_milliseconds = _now()

    async def _receive(
        self, session: aiohttp.ClientSession, outcome: Outcome, data: bytes, headers: dict[str, str], most: int | None
    ) -> None:
        """`most`: events after which the client hangs up."""
        async with session.post(self._url, data=data, headers=headers) as answer:
            outcome.request_id, outcome.status = answer.headers.get("x-request-id", ""), answer.status
            if answer.status != 200 or not outcome.stream:
                found = json.loads(await answer.read())
                outcome.complete = True
                if answer.status == 200:
                    outcome.usage = _usage(found)
                return
            async for line in answer.content:
                if line == b"data: [DONE]\n":
                    outcome.complete = True
                elif line.startswith(b"data: "):
                    _take_event(outcome, json.loads(line[6:]))
                if most is not None and outcome.events >= most:
                    answer.close()
                    return


def _take_event(outcome: Outcome, event: dict[str, object]) -> None:
    if event["choices"]:
        outcome.events += 1
    else:
        outcome.usage = _usage(event)


def _usage(answer: dict[str, object]) -> tuple[int, int]:
    usage = answer["usage"]
    assert isinstance(usage, dict)
    return usage["prompt_tokens"], usage["completion_tokens"]


def _now() -> int:
    return int(time.time() * 1000)
