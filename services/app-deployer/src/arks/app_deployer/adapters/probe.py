"""Queries to an engine over HTTP: alive, answering, busy. Errors of HTTP become results here."""

import re
from typing import Any

import aiohttp

from arks.kit.ports import authority

LOOPBACK = "127.0.0.1"
_TROUBLE = (aiohttp.ClientError, TimeoutError, OSError)
_UNSUPPORTED = frozenset({400, 404, 405, 501})
_LONGEST_BODY = 4 * 2**20
_WORK = re.compile(
    r"^(?:llamacpp:requests_(?:processing|deferred)|vllm:num_requests_(?:running|waiting)"
    r"|sglang:num_(?:running|queue)_reqs)(?:\{[^}]*\})? (\S+)",
    re.MULTILINE,
)
"""Gauges of running and waiting requests: llama.cpp, vLLM, SGLang."""


class HttpProbe:
    """`start` before use, `close` at the end."""

    def __init__(self, *, health_seconds: float, answer_seconds: float) -> None:
        """Timeouts of /health and /metrics, and of a completion."""
        self._health_seconds = health_seconds
        self._answer_seconds = answer_seconds
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        connector = aiohttp.TCPConnector(limit=64, force_close=True)
        self._session = aiohttp.ClientSession(connector=connector, trust_env=False)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def healthy(self, port: int) -> bool:
        """True if GET /health answers 200; llama.cpp answers 503 while it loads."""
        try:
            status, _ = await self._request("GET", port, "/health", seconds=self._health_seconds)
        except _TROUBLE:
            return False
        return status == 200

    async def problem(self, port: int, model: str, host: str = LOOPBACK) -> str | None:
        """None if the model answers one real request; otherwise the fault."""
        completion = {"model": model, "prompt": "Hello", "max_tokens": 1, "temperature": 0}
        embedding = {"model": model, "input": "Hello"}
        try:
            status, body = await self._request("POST", port, "/v1/completions", host=host, json=completion)
            if status in _UNSUPPORTED:  # a model for embeddings only
                status, _ = await self._request("POST", port, "/v1/embeddings", host=host, json=embedding)
        except _TROUBLE as error:
            return f"its model does not answer: {error or type(error).__name__}"
        return None if status == 200 else f"its model answers with status {status}: {body[:200]}"

    async def busy(self, port: int) -> float | None:
        """Number of running and waiting requests; None if /metrics does not show it."""
        try:
            status, body = await self._request("GET", port, "/metrics", seconds=self._health_seconds)
            values = [float(found[1]) for found in _WORK.finditer(body)] if status == 200 else []
        except (*_TROUBLE, ValueError):
            return None
        return sum(values) if values else None

    async def _request(
        self, method: str, port: int, path: str, *, host: str = LOOPBACK, seconds: float | None = None, json: Any = None
    ) -> tuple[int, str]:
        if self._session is None:
            raise RuntimeError("HttpProbe.start has not been called")
        timeout = aiohttp.ClientTimeout(total=seconds or self._answer_seconds)
        url = f"http://{authority(host, port)}{path}"
        async with self._session.request(method, url, json=json, timeout=timeout) as answer:
            body = await answer.content.read(_LONGEST_BODY)
            return answer.status, body.decode(errors="replace")
