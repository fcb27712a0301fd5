"""The loop: read what the gateway wrote, make batches of it, keep the new state, publish, and only then move on."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from arks.contracts.subjects import usage_subject
from arks.kit.backoff import Backoff
from arks.kit.clock import Clock
from arks.kit.errors import Unavailable
from arks.kit.process import collect_rarely
from arks.token_quota.domain.lease_book import BATCH_RECORDS, CLOSE_MARGIN_MILLISECONDS, LeaseBook
from arks.token_quota.domain.line_reader import ENDS, STARTS, Found, Line
from arks.token_quota.domain.lines import EndLine, LeaseLine, LineError, StartLine
from arks.token_quota.domain.wire import encode
from arks.token_quota.programs.shipper.segments import READ_BYTES, Segments
from arks.token_quota.programs.shipper.state import Message, StateFile

log = structlog.get_logger(__name__)

FLUSH_SECONDS = 0.4
"""A flush costs the shipper, NATS and token-quota some milliseconds of processor time, however few records it has."""
LARGE_FLUSH_SECONDS = 0.6
"""After a flush of BATCH_RECORDS or more. Of many tokens, more records in the next one share a token, and what sums,
counters and their changes cost is for each token.
"""
BACKOFF = Backoff(first_seconds=0.25, longest_seconds=5.0)
"""While NATS does not take the batches."""
FINISH_POLL_SECONDS = 0.01
TRIM_SECONDS = 1.0
STEP_MILLISECONDS = 1000
"""With a backlog starts are read this far ahead of ends, so that each start is known before its end."""
MAX_CHUNKS = 16
"""Of the starts file in one flush: 16 MB."""


class Publisher(Protocol):
    async def publish(self, messages: Sequence[Message]) -> list[Message]:
        """Returns those that were not acknowledged. Publishing them again is safe."""


class Gateway(Protocol):
    async def reopen_log(self) -> None:
        """Envoy opens its usage log again. Raises Unavailable."""


class ShipperMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.shipped = Counter("arks_shipper_records", "Usage records taken by the stream", registry=registry)
        self.bad_lines = Counter("arks_shipper_bad_lines", "Lines that are no record", ["column"], registry=registry)
        self.retries = Counter("arks_shipper_retries", "Batches that had to be sent again", registry=registry)
        self.open_requests = Gauge("arks_shipper_open_requests", "Requests in flight in live leases", registry=registry)
        self.leases = Gauge("arks_shipper_leases", "Leases that are not closed", registry=registry)
        self.untracked = Gauge(
            "arks_shipper_untracked_requests", "Requests in flight beyond the bound of those tracked", registry=registry
        )
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
        *,
        ends: Segments,
        starts: Segments,
        state_file: StateFile,
        publisher: Publisher,
        gateway: Gateway,
        metrics: ShipperMetrics,
        clock: Clock,
        gateway_name: str,
        rotate_bytes: int,
        max_total_bytes: int,
    ) -> None:
        """`ends`: Envoy's usage log. `starts`: what its filter wrote when it admitted requests."""
        self._ends = ends
        self._starts = starts
        self._state_file = state_file
        self._state = state_file.load()
        ends.position, starts.position = self._state.ends, self._state.starts
        self._book = LeaseBook(self._state.book)
        self._unpublished = self._state.messages
        self._saved = True
        self._publisher = publisher
        self._gateway = gateway
        self._metrics = metrics
        self._clock = clock
        self._gateway_name = gateway_name
        self._rotate_bytes = rotate_bytes
        self._max_total_bytes = max_total_bytes
        self._reopen_wanted = False
        self._flushed_records = 0
        """In the last flush."""
        self._next_trim = 0.0
        self._waiting_since: float | None = None
        self._last_start_milliseconds = 0
        self._read_at_milliseconds = 0
        metrics.lag_bytes.set_function(lambda: float(ends.unread_bytes() + starts.unread_bytes()))
        metrics.lag_seconds.set_function(self._waited_seconds)
        metrics.open_requests.set_function(lambda: float(self._book.open_requests))
        metrics.leases.set_function(lambda: float(self._book.leases))
        metrics.untracked.set_function(lambda: float(self._book.untracked))

    async def run(self) -> None:
        collect_rarely()
        try:
            while True:
                begun = self._clock.monotonic()
                if not await self.step():
                    await asyncio.sleep(max(0.0, self._flush_seconds() - (self._clock.monotonic() - begun)))
        finally:
            self._ends.close()
            self._starts.close()

    def _flush_seconds(self) -> float:
        return LARGE_FLUSH_SECONDS if self._flushed_records >= BATCH_RECORDS else FLUSH_SECONDS

    async def finish(self, within_seconds: float) -> None:
        """Ship the rest of both files and close every lease, after `run`: on Kubernetes the files end with their pod,
        and requests whose lines NATS does not take in time are charged their reservations.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_seconds):
                while self._unread_bytes():
                    if not await self.step():
                        await asyncio.sleep(FINISH_POLL_SECONDS)
                await self._close_all()
        if unread := self._unread_bytes():
            log.warning("usage remains in the log", size_bytes=unread)
        self._ends.close()
        self._starts.close()

    async def _close_all(self) -> None:
        await self._publish_rest()
        if await self._gateway_lives():
            return  # a new shipper goes on: its leases are in the state
        now = self._now()
        self._book.close_all()
        await self._flush(now)

    async def step(self) -> bool:
        """Ship what can be read now. True when more waits already."""
        await self._trim_logs()
        await self._publish_rest()
        now = self._read_at_milliseconds = self._now()  # before reading: what was written until now is read
        ends, before = self._ends.read(), self._starts.position
        found = ENDS.read(ends.data) if ends is not None else Found[EndLine]([], [])
        last_end = _end_milliseconds(found.lines[-1]) if found.lines else 0
        caught_up = self._read_starts(last_end if ends is not None else now)
        if ends is not None and not caught_up and self._last_start_milliseconds < last_end:
            ends = None  # their starts are not read yet
        until = now if caught_up else min(now, self._last_start_milliseconds)
        more = False
        if ends is not None:
            self._take(found, self._book.add_end)
            self._ends.advance(ends)
            if more := self._ends.unread_bytes() >= READ_BYTES:
                until = min(until, last_end or until)
        self._book.close(until)
        await self._flush(max(0, until - CLOSE_MARGIN_MILLISECONDS))
        return more or (not caught_up and self._starts.position != before)

    # --- reading

    def _read_starts(self, until_milliseconds: int) -> bool:
        """Add starts until the file's end, or until those of `until` and a step more are known. True: to its end."""
        for _ in range(MAX_CHUNKS):
            if self._last_start_milliseconds > until_milliseconds + STEP_MILLISECONDS:
                return False
            chunk = self._starts.read()
            if chunk is None:
                return self._starts.at_newest
            found = STARTS.read(chunk.data)
            self._take(found, self._add_start)
            self._starts.advance(chunk)
            last = next((line.at_milliseconds for line in reversed(found.lines) if isinstance(line, StartLine)), None)
            if last is not None:
                # A time in the future (a damaged line, a clock put back) must not end the reading of starts.
                self._last_start_milliseconds = min(last, self._read_at_milliseconds)
        return False

    def _add_start(self, line: LeaseLine | StartLine) -> None:
        if isinstance(line, StartLine):
            self._book.add_start(line)
        else:
            self._book.add_lease(line)

    def _take(self, found: Found[Line], add: Callable[[Line], None]) -> None:
        for column in found.bad:
            self._bad_line(column)
        for line in found.lines:
            try:
                add(line)
            except LineError as error:
                self._bad_line(str(error))

    def _bad_line(self, column: str) -> None:
        """The content stays out of the log: it may be anything."""
        self._metrics.bad_lines.labels(column).inc()
        log.warning("line of the usage log not understood", column=column)

    def _unread_bytes(self) -> int:
        return self._ends.unread_bytes() + self._starts.unread_bytes()

    def _now(self) -> int:
        """Milliseconds since 1970-01-01, by the clock that the gateway uses too."""
        return int(self._clock.timestamp() * 1000)

    # --- stream

    async def _flush(self, complete_until_milliseconds: int) -> None:
        """Keep the new state with its messages, then publish them. Returns when the stream has them, however long that
        takes.
        """
        state = self._state
        batches = self._book.batches(
            f"{state.identity}-{state.flush + 1}", self._gateway_name, complete_until_milliseconds
        )
        self._flushed_records = sum(len(batch.records) for batch in batches)
        if not batches and (state.ends, state.starts) == (self._ends.position, self._starts.position):
            return
        state.flush += 1
        state.ends, state.starts = self._ends.position, self._starts.position
        state.book = self._book.state()
        state.messages = [
            Message(usage_subject(batch.namespace), batch.id, encode(batch), len(batch.records)) for batch in batches
        ]
        self._unpublished, self._saved = state.messages, False
        await self._publish_rest()

    async def _publish_rest(self) -> None:
        """What the last flush left, if it was interrupted. Nothing is published that is not in the state file."""
        self._save()
        if self._unpublished:
            await self._publish(self._unpublished)

    def _save(self) -> None:
        """Write the state unless it is written; then delete segments that it has moved past."""
        if not self._saved:
            self._state_file.save(self._state)
            self._saved = True
        self._ends.delete_finished(self._state.ends)
        self._starts.delete_finished(self._state.starts)

    async def _publish(self, messages: list[Message]) -> None:
        """In order where it matters: the last part of a namespace goes after the others."""
        last = {message.subject: message for message in messages}  # one subject a namespace
        await self._publish_all([message for message in messages if last[message.subject] is not message])
        await self._publish_all(list(last.values()))
        self._unpublished = []
        self._metrics.shipped.inc(sum(message.records for message in messages))

    async def _publish_all(self, messages: list[Message]) -> None:
        if not messages:
            return
        unacknowledged, failures = messages, 0
        self._waiting_since = self._clock.monotonic()
        while unacknowledged := await self._publisher.publish(unacknowledged):
            self._metrics.retries.inc()
            failures += 1
            retry_seconds = BACKOFF.delay_seconds(failures)
            log.warning("usage waits for NATS", batches=len(unacknowledged), retry_seconds=retry_seconds)
            await asyncio.sleep(retry_seconds)
            await self._trim_logs()
        self._waiting_since = None

    def _waited_seconds(self) -> float:
        return 0.0 if self._waiting_since is None else self._clock.monotonic() - self._waiting_since

    # --- disk

    async def _trim_logs(self) -> None:
        """Rotate long logs, and keep both under one bound, whatever NATS does. Once a second is often enough."""
        now = self._clock.monotonic()
        if now < self._next_trim:
            return
        self._next_trim = now + TRIM_SECONDS
        if self._ends.current_bytes() >= self._rotate_bytes:
            self._ends.rotate()
            self._metrics.rotations.inc()
            self._reopen_wanted = True
        if self._reopen_wanted:
            await self._reopen()
        if self._starts.current_bytes() >= self._rotate_bytes:
            self._starts.rotate()  # the filter opens the path again by itself
            self._metrics.rotations.inc()
        while (excess_bytes := self._total_bytes() - self._max_total_bytes) > 0:
            longest_first = sorted((self._ends, self._starts), key=Segments.total_bytes, reverse=True)
            if not any(self._drop(segments, segments.total_bytes() - excess_bytes) for segments in longest_first):
                break  # only the files that are written remain

    def _total_bytes(self) -> int:
        return self._ends.total_bytes() + self._starts.total_bytes()

    def _drop(self, segments: Segments, max_total_bytes: int) -> bool:
        """Returns whether anything was deleted. Everything that was read is in the state: it is called between
        flushes.
        """
        found = segments.drop_oldest(max_total_bytes)
        if found:
            self._state.ends, self._state.starts, self._saved = self._ends.position, self._starts.position, False
            self._save()
        for dropped in found:
            self._metrics.dropped_bytes.inc(dropped.size_bytes)
            log.error(
                "log dropped unread: usage is lost, or charged by reservation",
                file=dropped.name,
                size_bytes=dropped.size_bytes,
                max_total_bytes=self._max_total_bytes,
            )
        return bool(found)

    async def _reopen(self) -> None:
        try:
            await self._gateway.reopen_log()
        except Unavailable as error:
            log.warning("Envoy still writes into the rotated log", error=str(error))
            return
        self._reopen_wanted = False

    async def _gateway_lives(self) -> bool:
        try:
            await self._gateway.reopen_log()
        except Unavailable:
            return False
        return True


def _end_milliseconds(line: EndLine) -> int:
    return line.started_at_milliseconds + line.duration_milliseconds
