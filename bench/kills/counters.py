"""Whether the counters in Valkey hold what the ledger holds, after everything that happened to both."""

import json
from dataclasses import dataclass
from typing import Any

import aiohttp

from bench.kills.system import LIMITED_KEYS, MODEL, System

MAX_TOKENS = 8


@dataclass(frozen=True)
class Used:
    """Of a key today."""

    requests: int
    tokens: int


async def counter_faults(running: System) -> list[str]:
    """Compare for each key with limits a day. No other request of these keys may be in flight."""
    found = [await _compare(running, token, key, limit) for token, (key, limit) in LIMITED_KEYS.items()]
    return [fault for fault in found if fault]


async def _compare(running: System, token: str, key: str, limit: int) -> str:
    report: Any = await running.usage(namespace="default", token=token)
    ledger = Used(report["total"]["requests"], report["total"]["totalTokens"])
    counters = await _counted(running, key, limit)
    return "" if ledger == counters else f"counters of {token}: {counters}, ledger: {ledger}"


async def _counted(running: System, key: str, limit: int) -> Used:
    """What the counters hold besides the request that reads them, which takes its reservation."""
    body = {"model": MODEL, "max_tokens": MAX_TOKENS, "messages": [{"role": "user", "content": "counted"}]}
    data = json.dumps(body).encode()
    url, headers = f"http://127.0.0.1:{running.gateway_port}/v1/chat/completions", {"authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession() as client, client.post(url, data=data, headers=headers) as answer:
        answer.raise_for_status()
        await answer.read()
        requests, tokens = (
            limit - int(answer.headers[f"x-ratelimit-remaining-{kind}"]) for kind in ("requests", "tokens")
        )
    return Used(requests - 1, tokens - -(-len(data) // 4) - MAX_TOKENS)
