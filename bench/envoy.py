"""What a benchmark reads from Envoy's statistics."""

import aiohttp

from arks.gateway_filter import FAULTS


async def filter_faults(admin_port: int) -> int:
    """Calls of the filter that failed since Envoy's start."""
    url = f"http://127.0.0.1:{admin_port}/stats?filter={FAULTS}"
    async with aiohttp.ClientSession() as client, client.get(url) as answer:
        return sum(int(line.rpartition(":")[2]) for line in (await answer.text()).splitlines())
