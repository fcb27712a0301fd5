"""The loop: read lines, make records of them, publish them, and only then move on."""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from arks.contracts.subjects import usage_subject
from arks.kit.backoff import Backoff
from arks.kit.clock import Clock
from arks.kit.errors import Unavailable
from arks.token_quota.domain.charge import LineError, usage_record
from arks.token_quota.domain.wire import encode
from arks.token_quota.programs.shipper.segments import Chunk, Segments

log = structlog.get_logger(__name__)

POLL_SECONDS = 0.1
BACKOFF = Backoff(first_seconds=0.25, longest_seconds=5.0)
"""While NATS does not take the records."""
FINISH_POLL_SECONDS = 0.01
TRIM_SECONDS = 1.0
BATCH_RECORDS = 500
"""On their way to NATS at once."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    subject: str
    request_id: str
    payload: bytes


class Publisher(Protocol):
    async def publish(self, records: Sequence[Outgoing]) -> list[Outgoing]:
        """Returns those that were not acknowledged. Publishing them again is safe."""


class Gateway(Protocol):
    async def reopen_log(self) -> None:
        """Envoy opens its usage log again. Raises Unavailable."""


class ShipperMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.shipped = Counter("arks_shipper_records", "Usage records taken by the stream", registry=registry)
        self.bad_lines = Counter("arks_shipper_bad_lines", "Lines that are no record", ["column"], registry=registry)
        self.retries = Counter("arks_shipper_retries", "Batches that had to be sent again", registry=registry)
        self.rotations = Counter("arks_shipper_rotations", "Rotations of the usage log", registry=registry)
        self.dropped_bytes = Counter(
            "arks_shipper_dropped_bytes", "Unread log deleted because of the bound on disk use", registry=registry
        )
        self.lag_bytes = Gauge("arks_shipper_lag_bytes", "Log that is not shipped yet", registry=registry)
        self.lag_seconds = Gauge(
            "arks_shipper_lag_seconds", "How long the oldest lines wait for NATS", registry=registry
        )


class Shipper:
    def __init__(
        self,
        segments: Segments,
        publisher: Publisher,
        gateway: Gateway,
        metrics: ShipperMetrics,
        clock: Clock,
        *,
        rotate_bytes: int,
        max_total_bytes: int,
    ) -> None:
        self._segments = segments
        self._publisher = publisher
        self._gateway = gateway
        self._metrics = metrics
        self._clock = clock
        self._rotate_bytes = rotate_bytes
        self._max_total_bytes = max_total_bytes
        self._reopen_wanted = False
        self._next_trim = 0.0
        self._waiting_since: float | None = None
        metrics.lag_bytes.set_function(lambda: float(segments.unread_bytes()))
        metrics.lag_seconds.set_function(self._waited_seconds)

    async def run(self) -> None:
        try:
            while True:
                if not await self.step():
                    await asyncio.sleep(POLL_SECONDS)
        finally:
            self._segments.close()

    async def finish(self, within_seconds: float) -> None:
        """Ship the rest of the log, after `run`: on Kubernetes the log ends with its pod, and requests whose lines NATS
        does not take in time are charged their reservations.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_seconds):
                while True:
                    if await self.step():
                        continue
                    if not self._segments.unread_bytes():
                        break
                    await asyncio.sleep(FINISH_POLL_SECONDS)
        if unread := self._segments.unread_bytes():
            log.warning("usage remains in the log", size_bytes=unread)
        self._segments.close()

    async def step(self) -> bool:
        """Ship what can be read now. False when there is nothing."""
        await self._trim_log()
        chunk = self._segments.read()
        if chunk is None:
            return False
        await self._ship(self._records(chunk))
        self._segments.advance(chunk)
        return True

    # --- lines

    def _records(self, chunk: Chunk) -> list[Outgoing]:
        records: list[Outgoing] = []
        for line in chunk.lines:
            if not line:
                continue
            try:
                record = usage_record(line.decode())
            except LineError as error:
                self._bad_line(str(error))
            except UnicodeDecodeError:
                self._bad_line("encoding")
            else:
                subject = usage_subject(record.namespace)
                records.append(Outgoing(subject, record.request_id, encode(record)))
        return records

    def _bad_line(self, column: str) -> None:
        """Its request is charged its reservation. The content stays out of the log: it may be anything."""
        self._metrics.bad_lines.labels(column).inc()
        log.warning("line of the usage log not understood", column=column)

    # --- stream

    async def _ship(self, records: list[Outgoing]) -> None:
        """Returns when the stream has all of them, however long that takes."""
        for at in range(0, len(records), BATCH_RECORDS):
            await self._ship_batch(records[at : at + BATCH_RECORDS])

    async def _ship_batch(self, batch: list[Outgoing]) -> None:
        unacknowledged, failures = batch, 0
        self._waiting_since = self._clock.monotonic()
        while unacknowledged := await self._publisher.publish(unacknowledged):
            self._metrics.retries.inc()
            failures += 1
            retry_seconds = BACKOFF.delay_seconds(failures)
            log.warning("usage waits for NATS", records=len(unacknowledged), retry_seconds=retry_seconds)
            await asyncio.sleep(retry_seconds)
            await self._trim_log()
        self._waiting_since = None
        self._metrics.shipped.inc(len(batch))

    def _waited_seconds(self) -> float:
        return 0.0 if self._waiting_since is None else self._clock.monotonic() - self._waiting_since

    # --- disk

    async def _trim_log(self) -> None:
        """Rotate a long log, and keep all of it under its bound, whatever NATS does. Once a second is often enough."""
        now = self._clock.monotonic()
        if now < self._next_trim:
            return
        self._next_trim = now + TRIM_SECONDS
        if self._segments.current_bytes() >= self._rotate_bytes:
            self._segments.rotate()
            self._metrics.rotations.inc()
            self._reopen_wanted = True
        if self._reopen_wanted:
            await self._reopen()
        if self._segments.total_bytes() > self._max_total_bytes:
            for dropped in self._segments.drop_oldest(self._max_total_bytes):
                self._metrics.dropped_bytes.inc(dropped.size_bytes)
                log.error(
                    "usage log dropped unread: its requests are charged their reservations",
                    file=dropped.name,
                    size_bytes=dropped.size_bytes,
                    max_total_bytes=self._max_total_bytes,
                )

    async def _reopen(self) -> None:
        try:
            await self._gateway.reopen_log()
        except Unavailable as error:
            log.warning("Envoy still writes into the rotated log", error=str(error))
            return
        self._reopen_wanted = False
