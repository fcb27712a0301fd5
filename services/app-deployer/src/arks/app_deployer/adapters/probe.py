"""Queries to an engine over HTTP: alive, answering, busy, what it keeps. Errors of HTTP become results here."""

import json as jsons
import re
from typing import Any

import aiohttp

from arks.contracts.uses import REQUIRED_CALL, TOOLS
from arks.kit.errors import Unavailable
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
_LETTER = "a"
_TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
_REQUIRED_CALL: Any = {
    "messages": [{"role": "user", "content": "Hi"}],
    "tools": [_TOOL],
    "tool_choice": "required",
    "max_tokens": 1,
    "temperature": 0,
    "logit_bias": [[_LETTER, 100]],
}
"""The engine would answer with the letter alone, unless its grammar has a call to begin with."""


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

    async def unsupported(self, port: int, model: str, host: str = LOOPBACK) -> frozenset[str]:
        """What llama.cpp drops of a request for the sake of the model's chat template; nothing for other engines.

        llama.cpp's /props have whether the template has tools. Whether it forces a call depends on its reader of that
        template: most readers let any text stand before the call, so an answer of `max_tokens` has none
        (ggml-org/llama.cpp#27217). Raises Unavailable.
        """
        try:
            status, body = await self._request("GET", port, "/props", host=host, seconds=self._health_seconds)
            if status not in {200, *_UNSUPPORTED}:
                raise Unavailable(f"/props answers with status {status}")
            supports = _template(body).get("supports_tools") if status == 200 else None
            if supports is not True:
                return frozenset({TOOLS} if supports is False else ())
            request = _REQUIRED_CALL | {"model": model}
            status, body = await self._request("POST", port, "/v1/chat/completions", host=host, json=request)
        except _TROUBLE as error:
            raise Unavailable(str(error) or type(error).__name__) from error
        return frozenset({REQUIRED_CALL} if status == 200 and _text(body).startswith(_LETTER) else ())

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


def _template(body: str) -> dict[str, Any]:
    """What llama.cpp has found in the model's chat template; empty if the engine is another one."""
    try:
        found = jsons.loads(body)["chat_template_caps"]
    except (ValueError, LookupError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def _text(body: str) -> str:
    """The text of a chat's answer, thoughts included; empty if it has none."""
    try:
        message = jsons.loads(body)["choices"][0]["message"]
        return f"{message.get('reasoning_content') or ''}{message.get('content') or ''}".strip()
    except (ValueError, LookupError, TypeError, AttributeError):
        return ""
