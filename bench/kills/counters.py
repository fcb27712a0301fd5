"""Whether the counters in Valkey hold what the ledger holds, after everything that happened to both."""

import time
from dataclasses import dataclass
from typing import Any

import aiohttp

from bench.kills.system import LIMITED_KEYS, MODEL, System


@dataclass(frozen=True)
class Used:
    """Of a key today."""

    requests: int
    tokens: int


async def counter_faults(running: System) -> list[str]:
    """Compare for each key with limits a day. No request of these keys may be in flight, and none may follow: what
    is reserved for this stays reserved.
    """
    found = [await _compare(running, token, key, limit) for token, (key, limit) in LIMITED_KEYS.items()]
    return [fault for fault in found if fault]


async def _compare(running: System, token: str, key: str, limit: int) -> str:
    report: Any = await running.usage(namespace="default", token=token)
    ledger = Used(report["total"]["requests"], report["total"]["totalTokens"])
    counters = await _counted(running, key, limit)
    return "" if ledger == counters else f"counters of {token}: {counters}, ledger: {ledger}"


async def _counted(running: System, key: str, limit: int) -> Used:
    """What the counters hold besides the request that reads them. Not through Envoy: its filter would demand more."""
    headers = {
        "authorization": f"Bearer {key}",
        "x-arks-request-id": f"counted-{time.time_ns()}",
        "x-arks-model": MODEL,
        "x-arks-operation": "chat.completions",
        "x-arks-body-bytes": "4",
        "x-arks-max-tokens": "1",
        "x-arks-stream": "0",
        "x-arks-gateway": "counters",
        "x-arks-demand": "0,0,0",
    }
    url = f"http://127.0.0.1:{running.quota_ports[0]}/v1/admit"
    async with aiohttp.ClientSession() as client, client.post(url, headers=headers) as answer:
        answer.raise_for_status()
        requests, tokens = (
            limit - int(answer.headers[f"x-ratelimit-remaining-{kind}"]) for kind in ("requests", "tokens")
        )
    return Used(requests - 1, tokens - 2)
