"""Engines over HTTP. The client's errors become ours here, in words for people."""

import asyncio
from functools import lru_cache

import aiohttp
from prometheus_client import CollectorRegistry, Counter, Histogram
from yarl import URL

from arks.kit.errors import Unavailable

_HEADERS = {"Accept": "text/plain; version=0.0.4", "Accept-Encoding": "identity"}
"""No OpenMetrics (its exemplars cost bytes), no compression (it costs the engine more than loopback gains)."""
_READ_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_ADDRESSES = 4096


class HttpEngines:
    """Metrics pages over HTTP with connections kept open. `start` before the first page, `stop` at the end."""

    def __init__(
        self, registry: CollectorRegistry, *, timeout_seconds: float, limit_bytes: int, connections: int
    ) -> None:
        self._timeout_seconds = timeout_seconds
        self._limit_bytes = limit_bytes
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None
        self._seconds = Histogram(
            "arks_metrics_read_seconds",
            "Time from the query of a page to its last byte",
            buckets=_READ_BUCKETS,
            registry=registry,
        )
        self._bytes = Counter("arks_metrics_read_bytes", "Bytes of metrics pages read", registry=registry)
        self._errors = Counter("arks_metrics_read_errors", "Failed queries of a page", registry=registry)

    async def start(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._connections, limit_per_host=0, keepalive_timeout=30.0),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=_HEADERS,
            timeout=aiohttp.ClientTimeout(total=None),
        )

    async def stop(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def page(self, host: str, port: int) -> bytes:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(self._timeout_seconds):
                page = await self._get(_address(host, port))
        except TimeoutError as error:
            self._errors.inc()
            raise Unavailable(f"no answer within {self._timeout_seconds:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            self._errors.inc()
            raise Unavailable(_explain(error)) from error
        except Unavailable:
            self._errors.inc()
            raise
        self._seconds.observe(loop.time() - began)
        self._bytes.inc(len(page))
        return page

    async def _get(self, url: URL) -> bytes:
        if self._session is None:
            raise Unavailable("not started yet")
        async with self._session.get(url, allow_redirects=False) as response:
            if response.status != 200:
                raise Unavailable(_refusal(response.status))
            return await self._bounded(response)

    async def _bounded(self, response: aiohttp.ClientResponse) -> bytes:
        if (response.content_length or 0) > self._limit_bytes:
            raise Unavailable(f"its page has {response.content_length} bytes, more than {self._limit_bytes}")
        chunks, size = [], 0
        async for chunk in response.content.iter_any():
            size += len(chunk)
            if size > self._limit_bytes:
                raise Unavailable(f"its page has more than {self._limit_bytes} bytes")
            chunks.append(chunk)
        return b"".join(chunks)


@lru_cache(maxsize=_ADDRESSES)
def _address(host: str, port: int) -> URL:
    """Raises ValueError for what cannot be an address."""
    return URL.build(scheme="http", host=host, port=port, path="/metrics")


def _refusal(status: int) -> str:
    meanings = {
        404: "it has no metrics page; start the engine with its metrics on",
        501: "its metrics are off; start the engine with its metrics on",
        503: "it is loading or shutting down",
    }
    return f"/metrics answers {status}" + (f": {meanings[status]}" if status in meanings else "")


def _explain(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "it closed the connection without an answer"
    return f"no page: {str(error)[:200] or type(error).__name__}"
