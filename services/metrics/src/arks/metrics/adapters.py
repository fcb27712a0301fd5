"""The outbound edge: engines over HTTP, reports onto the bus. Their errors become ours here."""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache

import aiohttp
from google.protobuf.timestamp_pb2 import Timestamp
from prometheus_client import CollectorRegistry, Counter, Histogram
from yarl import URL

from arks.events.v1.load_pb2 import LoadReport, ReplicaLoad
from arks.kit.bus import Bus
from arks.kit.clock import Clock
from arks.kit.errors import Unavailable
from arks.kit.reconcile import Key
from arks.metrics.config import Settings
from arks.metrics.domain.readings import Reading, Replica, Said, slot_usage

_HEADERS = {"Accept": "text/plain; version=0.0.4", "Accept-Encoding": "identity"}
"""No OpenMetrics (its exemplars cost bytes), no compression (it costs the engine more than loopback gains)."""
_READ_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_ADDRESSES = 4096


class HttpEngines:
    """Metrics pages over HTTP with connections kept open. `start` before the first page, `stop` at the end."""

    def __init__(self, settings: Settings, registry: CollectorRegistry) -> None:
        self._timeout_seconds = settings.load_read_timeout_seconds
        self._limit_bytes = settings.load_page_limit_bytes
        self._connections = settings.load_concurrent_reads + settings.load_concurrent_silent_reads
        self._session: aiohttp.ClientSession | None = None
        self._seconds = Histogram(
            "arks_metrics_read_seconds",
            "Time from asking an engine to its last byte",
            buckets=_READ_BUCKETS,
            registry=registry,
        )
        self._bytes = Counter("arks_metrics_read_bytes", "Bytes of metrics pages read", registry=registry)
        self._errors = Counter("arks_metrics_read_errors", "Engines that did not give a page", registry=registry)

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
            raise Unavailable(_in_words(error)) from error
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


class NatsReports:
    """One LoadReport an application and tick, on core NATS."""

    def __init__(self, bus: Bus, clock: Clock, registry: CollectorRegistry) -> None:
        self._bus = bus
        self._clock = clock
        self._published = Counter("arks_metrics_reports", "Load reports handed to NATS", registry=registry)

    async def publish(self, key: Key, said: Mapping[Replica, Said]) -> None:
        await self._bus.publish_load(report_of(key, said, self._clock.now()))
        self._published.inc()


def report_of(key: Key, said: Mapping[Replica, Said], now: datetime) -> LoadReport:
    """What everybody may know of an application: signals where there is no problem, a problem where there is one."""
    report = LoadReport(namespace=key.namespace, application=key.name, measured_at=_timestamp(now))
    for replica, its in said.items():
        load = report.replicas.add(name=replica.name, host=replica.host, port=replica.port, problem=its.problem)
        if replica.slots:
            load.slots = replica.slots
        if its.reading is not None:
            load.measured_at.CopyFrom(_timestamp(its.reading.measured_at))
            if not its.problem:
                _fill(load, its.reading, replica.slots)
    return report


def _fill(load: ReplicaLoad, reading: Reading, slots: int) -> None:
    snapshot, rates = reading.snapshot, reading.rates
    for name, value in (
        ("running_requests", snapshot.running_requests),
        ("waiting_requests", snapshot.waiting_requests),
        ("kv_cache_usage_ratio", slot_usage(snapshot, slots)),
        ("prompt_tokens_per_second", rates.prompt_tokens_per_second),
        ("generation_tokens_per_second", rates.generation_tokens_per_second),
        ("drain_rate_per_second", rates.drain_rate_per_second),
    ):
        if value is not None:
            setattr(load, name, value)


def _timestamp(moment: datetime) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromDatetime(moment)
    return timestamp


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


def _in_words(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "it closed the connection without an answer"
    return f"no page: {str(error)[:200] or type(error).__name__}"
