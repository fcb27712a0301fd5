"""Engines over HTTP. The client's errors become ours here, in words for people."""

import asyncio

from prometheus_client import CollectorRegistry, Counter, Histogram

from arks.kit.errors import Unavailable
from arks.metrics.adapters.connections import Broken, Connections

_HEADERS = "Accept: text/plain; version=0.0.4\r\nAccept-Encoding: identity\r\nUser-Agent: arks-metrics\r\n"
"""No OpenMetrics (its exemplars cost bytes), no compression (it costs the engine more than loopback gains)."""
_READ_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_MOST_UNUSED = 4096
"""Connections that are kept open between two queries: one a replica."""


class HttpEngines:
    """Metrics pages over HTTP with connections kept open. `stop` at the end."""

    def __init__(self, registry: CollectorRegistry, *, timeout_seconds: float, limit_bytes: int) -> None:
        self._timeout_seconds = timeout_seconds
        self._connections = Connections("/metrics", _HEADERS, limit_bytes=limit_bytes, most_unused=_MOST_UNUSED)
        self._seconds = Histogram(
            "arks_metrics_read_seconds",
            "Time from the query of a page to its last byte",
            buckets=_READ_BUCKETS,
            registry=registry,
        )
        self._bytes = Counter("arks_metrics_read_bytes", "Bytes of metrics pages read", registry=registry)
        self._errors = Counter("arks_metrics_read_errors", "Failed queries of a page", registry=registry)

    async def stop(self) -> None:
        self._connections.close()

    async def page(self, host: str, port: int) -> bytes:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(self._timeout_seconds):
                page = await self._get(host, port)
        except TimeoutError as error:
            self._errors.inc()
            raise Unavailable(f"no answer within {self._timeout_seconds:g} s") from error
        except (Broken, OSError, ValueError) as error:
            self._errors.inc()
            raise Unavailable(_explain(error)) from error
        except Unavailable:
            self._errors.inc()
            raise
        self._seconds.observe(loop.time() - began)
        self._bytes.inc(len(page))
        return page

    async def _get(self, host: str, port: int) -> bytes:
        status, page = await self._connections.get(host, port)
        if status != 200:
            raise Unavailable(_refusal(status))
        return page


def _refusal(status: int) -> str:
    meanings = {
        404: "it has no metrics page; start the engine with its metrics on",
        501: "its metrics are off; start the engine with its metrics on",
        503: "it is loading or shutting down",
    }
    return f"/metrics answers {status}" + (f": {meanings[status]}" if status in meanings else "")


def _explain(error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, Broken) and error.unused:
        return str(error)
    return f"no page: {str(error)[:200] or type(error).__name__}"
