"""Options of llama.cpp through the gateway: no combination makes the engine fail, wait forever, or keep a slot.

ARKS_OPTIONS sets how many requests (nightly: 1,000).
"""

import asyncio
import os
from collections import Counter
from random import Random
from typing import Any

import httpx
import pytest

from arks.local.testing.harness import ArksHarness

pytestmark = [pytest.mark.real, pytest.mark.timeout(3600)]
COUNT, SEED, AT_ONCE = int(os.environ.get("ARKS_OPTIONS", "40")), 12, 4
SECONDS = 60.0
"""Of one answer of a few tokens, on a busy machine."""
OPTIONS: dict[str, tuple[Any, ...]] = {
    "n": (1, 2, 3),
    "stream": (True, False),
    "temperature": (-1, 0, 0.0001, 1e9),
    "top_k": (-1, 0, 1, 2**31 - 1),
    "top_p": (0, 1e-9, 1),
    "min_p": (0, 1, 2),
    "typical_p": (0, 1),
    "xtc_probability": (0, 1),
    "dynatemp_range": (0, 10),
    "mirostat": (0, 1, 2, 9),
    "mirostat_tau": (-1, 0, 5),
    "repeat_penalty": (0, 1, -1),
    "repeat_last_n": (-1, 0, 10**6),
    "dry_multiplier": (0, 1),
    "dry_base": (0, 1, 2),
    "dry_allowed_length": (0, 2),
    "dry_penalty_last_n": (-1, 0, 10**6),
    "dry_sequence_breakers": ([], ["\n"], [""]),
    "samplers": ([], ["top_k"], ["none"], "k"),
    "n_keep": (-1, 0, 10**6),
    "n_indent": (0, 4),
    "t_max_predict_ms": (-1, 0, 1),
    "seed": (-1, 0, 2**32 - 1),
    "n_probs": (0, 5, 10**6),
    "min_keep": (0, 10**6),
    "ignore_eos": (True, False),
    "logit_bias": ([], [[1, False]], {"1": -100}),
    "stop": ([], [""], "", ["a"] * 4),
    "grammar": ("", 'root ::= "a"', "root ::= root", "root ::= ("),
    "json_schema": ({}, {"type": "object"}, {"$ref": "#"}),
    "cache_prompt": (True, False),
    "return_tokens": (True, False),
    "post_sampling_probs": (True, False),
    "timings_per_token": (True, False),
    "add_generation_prompt": (True, False),
    "reasoning_format": ("none", "auto", "x"),
    "parse_tool_calls": (True, False),
}
PROMPTS: tuple[dict[str, Any], ...] = (
    {"prompt": "a"},
    {"prompt": ["a", "b"]},
    {"prompt": [1, 2, 3]},
    {"prompt": ""},
    {"prompt": [[1], "b"]},
    {"messages": [{"role": "user", "content": "a"}]},
    {"messages": [{"role": "user", "content": ""}]},
    {"messages": [{"role": "assistant", "content": "a"}]},
)


def request(random: Random) -> dict[str, Any]:
    names = random.sample(sorted(OPTIONS), random.randint(1, 4))
    body = {name: random.choice(OPTIONS[name]) for name in names}
    return {"model": "smollm2", "max_tokens": 3, **body, **random.choice(PROMPTS)}


async def outcome(client: httpx.AsyncClient, body: dict[str, Any]) -> str:
    path = "chat/completions" if "messages" in body else "completions"
    try:
        return str((await client.post(f"/{path}", json=body)).status_code)
    except httpx.TimeoutException:
        return "no answer"
    except httpx.TransportError:
        return "a broken answer"


async def test_no_combination_of_options_fails_or_takes_a_slot(arks_up: ArksHarness) -> None:
    random = Random(SEED)  # noqa: S311  no secret
    bodies, found = [request(random) for _ in range(COUNT)], Counter[str]()
    headers, gate = {"authorization": f"Bearer {arks_up.key}"}, asyncio.Semaphore(AT_ONCE)
    faults: list[tuple[str, dict[str, Any]]] = []
    async with httpx.AsyncClient(base_url=arks_up.url, timeout=SECONDS, headers=headers) as client:

        async def send(body: dict[str, Any]) -> None:
            async with gate:
                status = await outcome(client, body)
            found[status] += 1
            if status not in ("200", "400"):
                faults.append((status, body))

        await asyncio.gather(*(send(body) for body in bodies))
        plain = {"model": "smollm2", "max_tokens": 2, "messages": [{"role": "user", "content": "hi"}]}
        after = await asyncio.gather(*(outcome(client, plain) for _ in range(2 * AT_ONCE)))
    assert ([], {"200"}) == (faults, set(after)), found
    assert found["200"] > COUNT // 4, found  # else nothing has reached the engine
