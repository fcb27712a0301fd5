"""Envoy as clients and operators see it: answers to requests, clusters with their replicas, weights."""

import json
from typing import Any

import aiohttp


class Gateway:
    def __init__(self, port: int, admin_port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/v1/chat/completions"
        self._admin = f"http://127.0.0.1:{admin_port}"
        self._client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=64), timeout=aiohttp.ClientTimeout(total=10)
        )

    async def close(self) -> None:
        await self._client.close()

    async def request(self, key: str, model: str) -> int:
        """Status of one chat completion; 0 if there is no answer."""
        body = {"model": model, "max_tokens": 1, "messages": [{"role": "user", "content": "hello"}]}
        try:
            headers = {"authorization": f"Bearer {key}"}
            async with self._client.post(self._url, json=body, headers=headers) as answer:
                await answer.read()
                return answer.status
        except (aiohttp.ClientError, TimeoutError):
            return 0

    async def served(self) -> int:
        """Number of endpoints that have a replica in Envoy."""
        text = await self._read("/clusters")
        hosts = (line.split("::") for line in text.splitlines() if line.endswith("::health_flags::healthy"))
        return len({parts[0] for parts in hosts if "/" in parts[0]})

    async def clusters(self) -> int:
        """Number of clusters that Envoy has initialised: a cheap query."""
        text = await self._read("/stats?filter=^cluster_manager.active_clusters$")
        return int(text.rpartition(": ")[2] or 0)

    async def parts(self, endpoint: str) -> dict[str, int]:
        """Weight of each application behind an endpoint."""
        escaped = endpoint.replace("/", ".")
        path = f"/config_dump?include_eds&resource=dynamic_endpoint_configs&name_regex=^{escaped}$"
        configs: list[Any] = json.loads(await self._read(path) or "{}").get("configs", [])
        localities = [found for config in configs for found in config["endpoint_config"].get("endpoints", [])]
        return {found["locality"].get("sub_zone", ""): found.get("load_balancing_weight", 0) for found in localities}

    async def _read(self, path: str) -> str:
        try:
            async with self._client.get(self._admin + path) as answer:
                return await answer.text() if answer.status == 200 else ""
        except (aiohttp.ClientError, TimeoutError):
            return ""
