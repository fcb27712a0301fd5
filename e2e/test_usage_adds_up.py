"""`arks usage` equals the usage that clients received, to the token; cut answers are charged as delivered.

ARKS_REQUESTS sets how many requests (nightly: a thousand).
"""

import asyncio
import os
import random
from dataclasses import dataclass

import httpx
import openai
import pytest

from arks.kit.testing.manifests import token
from arks.local.testing.harness import ArksHarness, until
from e2e.support.traffic import UsageTotals

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]
MODEL, KEY, NAME = "smollm2", "sk-adds-up-000000", "adds-up"
REQUESTS, AT_ONCE = int(os.environ.get("ARKS_REQUESTS", "250")), 8


@dataclass
class AllReceived(UsageTotals):
    """Usage that clients received, and what they counted in answers that they cut."""

    hung_up: int = 0
    delivered_tokens: int = 0


async def whole(client: openai.AsyncOpenAI, received: AllReceived, prompt: str, tokens: int) -> None:
    answer = await client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": prompt}], max_tokens=tokens
    )
    received.add(answer.usage)


async def streamed(client: openai.AsyncOpenAI, received: AllReceived, prompt: str, tokens: int) -> None:
    stream = await client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": prompt}],
        max_tokens=tokens,
        stream=True,
        stream_options={"include_usage": True},
    )
    usages = [chunk.usage async for chunk in stream if chunk.usage is not None]
    received.add(usages[-1])


async def text(client: openai.AsyncOpenAI, received: AllReceived, prompt: str, tokens: int) -> None:
    answer = await client.completions.create(model=MODEL, prompt=prompt, max_tokens=tokens)
    received.add(answer.usage)


async def hangs_up(client: openai.AsyncOpenAI, received: AllReceived, prompt: str, tokens: int) -> None:
    """Reads a few events, then closes the connection in the middle of an endless answer."""
    body = {"model": MODEL, "stream": True, "max_tokens": 200, "messages": [{"role": "user", "content": prompt}]}
    body |= {"ignore_eos": True}
    expected, seen = 1 + tokens % 4, 0
    async with (
        httpx.AsyncClient(timeout=120) as raw,
        raw.stream("POST", f"{client.base_url}chat/completions", json=body, headers=client.auth_headers) as answer,
    ):
        async for line in answer.aiter_lines():
            seen += line.startswith("data: ") and '"content":"' in line and '"content":""' not in line
            if seen >= expected:
                break
    received.hung_up += 1
    received.delivered_tokens += seen


async def test_usage_equals_what_clients_received_over_many_mixed_requests(arks_up: ArksHarness) -> None:
    arks_up.apply_token(token(NAME, KEY, MODEL))
    received, dice, gate = AllReceived(), random.Random(7), asyncio.Semaphore(AT_ONCE)  # noqa: S311  # a fixed mix, no secret
    kinds = [whole, streamed, text, hangs_up]
    async with openai.AsyncOpenAI(base_url=arks_up.url, api_key=KEY, max_retries=0, timeout=120) as client:

        async def send(number: int) -> None:
            kind = dice.choices(kinds, weights=[40, 35, 20, 5])[0]
            prompt = f"{number} " + "hello " * dice.randrange(1, 6)
            tokens = dice.randrange(1, 6)
            async with gate:
                await kind(client, received, prompt, tokens)

        await asyncio.gather(*(send(number) for number in range(REQUESTS)))

    def settled() -> dict[str, int] | None:
        found = [row for row in arks_up.json("usage")["items"] if row["token"] == NAME]
        return found[0] if found and found[0]["requests"] == REQUESTS else None

    row = await until(settled, within_seconds=120, what=f"{REQUESTS} requests in the ledger")
    engine = row["bySource"]["engine"]
    delivered = row["bySource"]["delivered"]
    assert (received.requests, received.prompt_tokens, received.completion_tokens) == (
        engine["requests"],
        engine["promptTokens"],
        engine["completionTokens"],
    )
    assert received.hung_up == delivered["requests"]
    in_flight_tokens = 40 * received.hung_up  # in the sockets' buffers when the client closed the connection
    assert received.delivered_tokens <= delivered["completionTokens"] <= received.delivered_tokens + in_flight_tokens
    assert delivered["promptTokens"] >= received.hung_up
