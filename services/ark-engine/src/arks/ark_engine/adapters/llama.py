"""llama.cpp's HTTP API on loopback.

Closing a connection is how a generation is cancelled: llama.cpp notices it with the next token, or within a second
while it processes a prompt. Each request has a connection of its own: llama.cpp closes those that were idle for 5 s,
also while a request is on its way.
"""

import json
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import aiohttp

from arks.ark_engine.domain.failures import Failed, from_llama

_LINE_BYTES_LIMIT = 2**20
"""Of one event of a stream; log probabilities of a token take some KB."""


class HttpLlama:
    def __init__(self, timeout_seconds: float) -> None:
        """`timeout_seconds`: without any byte from llama.cpp, which is silent while it processes a prompt."""
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=5.0, sock_read=timeout_seconds)
        self._session: aiohttp.ClientSession | None = None
        self._base = ""

    async def start(self, base: str) -> None:
        """`base`: http://host:port of llama.cpp."""
        self._base = base
        self._session = aiohttp.ClientSession(
            timeout=self._timeout,
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
            read_bufsize=_LINE_BYTES_LIMIT,
        )

    async def stop(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def complete(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return await self._post(path, body)

    async def save(self, slot: int, name: str) -> int:
        answer = await self._post(f"/slots/{slot}?action=save", {"filename": name})
        return int(answer["n_written"])

    async def restore(self, slot: int, name: str) -> None:
        await self._post(f"/slots/{slot}?action=restore", {"filename": name})

    async def stream(self, path: str, body: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        try:
            async with self._open(path, body) as answer:
                await _check(answer)
                async for line in answer.content:
                    data = line.removeprefix(b"data: ").strip()
                    if not line.startswith(b"data: ") or data == b"[DONE]":
                        continue
                    yield _chunk(data)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise _away(error) from error

    async def _post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        try:
            async with self._open(path, body) as answer:
                await _check(answer)
                found: dict[str, Any] = await answer.json()
                return found
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise _away(error) from error

    def _open(self, path: str, body: Mapping[str, Any]) -> Any:
        if self._session is None:
            raise Failed("UNAVAILABLE", "the model is loading")
        return self._session.post(self._base + path, json=body)


def _chunk(data: bytes) -> dict[str, Any]:
    """Raises Failed for an error that llama.cpp sends within a stream."""
    chunk: dict[str, Any] = json.loads(data)
    if "error" in chunk:
        raise from_llama(int(chunk["error"].get("code", 500)), chunk)
    return chunk


async def _check(answer: aiohttp.ClientResponse) -> None:
    if answer.status >= 400:
        try:
            body = json.loads(await answer.read())
        except ValueError:
            body = None
        raise from_llama(answer.status, body)


def _away(error: Exception) -> Failed:
    return Failed("INTERNAL", f"llama.cpp does not answer: {type(error).__name__}: {error}")
