"""Metering: usage records into the ledger, ledger entries into the counters, forgotten reservations into charges.

The ledger is written first and is never wrong; the counters follow it. Each namespace's counters know how far they
have come (their cursor), so that a killed service, a Redis that was away, and several replicas at once neither lose
an entry nor apply one twice.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from arks.kit.clock import Clock
from arks.token_quota.adapters.metrics import Metrics
from arks.token_quota.domain.limits import Budget
from arks.token_quota.domain.posting import DAY_MILLISECONDS, Usage
from arks.token_quota.service.index.index import Directory
from arks.token_quota.service.ports import Counters, CountersUnavailable, Epoch, Ledger, LedgerUnavailable, Moment

log = structlog.get_logger(__name__)

AGAIN_SECONDS = 0.5
APPLY_ENTRIES = 200
"""Ledger entries in one script call: Redis does nothing else meanwhile (about 1 ms)."""
SWEEP_RESERVATIONS = 500
PRUNE_ENTRIES = 2000
PRUNE_SECONDS = 3600.0


class UsageMessage(Protocol):
    """One message of the usage stream."""

    def usage(self) -> Usage | None:
        """Without its quota. None when it is not a usage record."""

    async def ack(self) -> None: ...


class UsageStream(Protocol):
    def batches(self) -> AsyncIterator[Sequence[UsageMessage]]:
        """For ever, at least once each; what is not acknowledged comes again."""


def now_of(clock: Clock) -> Moment:
    return Moment(int(clock.now().timestamp() * 1000))


@dataclass(frozen=True, slots=True)
class Books:
    """What all of metering works on."""

    directory: Directory
    counters: Counters
    ledger: Ledger
    metrics: Metrics
    clock: Clock


class Projector:
    """Brings the counters up to the ledger."""

    def __init__(self, books: Books, every_seconds: float) -> None:
        self._books = books
        self._every_seconds = every_seconds
        self._cursors: dict[str, int] = {}
        self._looked_upto = 0
        self._behind: set[str] = set()
        self._wake = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()

    def wake(self, namespaces: Iterable[str]) -> None:
        """These have new entries."""
        self._behind.update(namespaces)
        self._wake.set()

    def namespaces(self) -> set[str]:
        """Those that have entries in the ledger."""
        return set(self._cursors)

    def cursor(self, namespace: str) -> int:
        return self._cursors.get(namespace, 0)

    async def run(self) -> None:
        """At once when woken; every so often also for what other replicas wrote or left undone."""
        while True:
            try:
                if not self._behind:
                    await self._look()
                for namespace in sorted(self._behind):
                    await self.bring_forward(namespace)
                    self._behind.discard(namespace)
                self._wake.clear()
            except (CountersUnavailable, LedgerUnavailable) as error:
                log.warning("counters wait behind the ledger", error=str(error))
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._every_seconds):
                    await self._wake.wait()

    async def bring_forward(self, namespace: str) -> None:
        """Apply every entry of `namespace` that its counters lack. Raises CountersUnavailable and LedgerUnavailable."""
        async with self._one_at_a_time:
            cursor = self._cursors.get(namespace)
            if cursor is None:
                cursor = (await self._open(namespace)).cursor
            while entries := await self._books.ledger.entries(namespace, cursor, APPLY_ENTRIES):
                charged = [(entry, self._budget(namespace, entry.quota)) for entry in entries]
                applied = await self._books.counters.apply(namespace, cursor, charged, now_of(self._books.clock))
                cursor = (await self._open(namespace)).cursor if applied is None else applied
                self._cursors[namespace] = cursor

    async def _look(self) -> None:
        """Find namespaces with entries that the counters lack: at the start all, then those with newer entries."""
        last = await self._books.ledger.last_seq()
        if last == self._looked_upto:
            return
        heads = await self._books.ledger.heads(self._looked_upto)
        for namespace in heads:
            await self._open(namespace)
        behind = {namespace: head - self.cursor(namespace) for namespace, head in heads.items()}
        self._books.metrics.entries_behind.set(sum(lag for lag in behind.values() if lag > 0))
        self._behind.update(namespace for namespace, lag in behind.items() if lag > 0)
        self._looked_upto = last

    async def _open(self, namespace: str) -> Epoch:
        """The life of these counters. One that is ahead of the ledger knows entries that do not exist (the ledger
        was restored from a copy): it ends, and its counters are made again.
        """
        epoch = await self._books.counters.open(namespace, await self._books.ledger.last_seq())
        if epoch.cursor > (last := await self._books.ledger.last_seq()):
            log.error(
                "counters are ahead of the ledger: made again", namespace=namespace, cursor=epoch.cursor, ledger=last
            )
            epoch = await self._books.counters.open(namespace, last, replace=epoch.id)
        self._cursors[namespace] = epoch.cursor
        return epoch

    def _budget(self, namespace: str, quota: str) -> Budget | None:
        return self._books.directory.budget(namespace, quota) if quota else None


class Ingest:
    """Usage records from the stream into the ledger, acknowledged after the commit."""

    def __init__(self, stream: UsageStream, books: Books, projector: Projector) -> None:
        self._stream = stream
        self._books = books
        self._projector = projector

    async def run(self) -> None:
        async for batch in self._stream.batches():
            usages = [usage for message in batch if (usage := message.usage()) is not None]
            await self._post([self._with_quota(usage) for usage in usages])
            self._books.metrics.records.labels("not_understood").inc(len(batch) - len(usages))
            for message in batch:
                await message.ack()

    def _with_quota(self, usage: Usage) -> Usage:
        quota = self._books.directory.quota_of(usage.namespace, usage.token, usage.endpoint)
        return replace(usage, quota=quota) if quota else usage

    async def _post(self, usages: Sequence[Usage]) -> None:
        while True:
            now = now_of(self._books.clock)
            try:
                entries = await self._books.ledger.post(usages, now)
                break
            except LedgerUnavailable as error:
                self._books.metrics.ledger_errors.inc()
                log.warning("usage waits for the ledger", records=len(usages), error=str(error))
                await asyncio.sleep(AGAIN_SECONDS)
        for entry in entries:
            self._books.metrics.posted(entry)
        self._books.metrics.records.labels("posted").inc(len(entries))
        self._books.metrics.records.labels("known").inc(len(usages) - len(entries))
        if usages:
            newest = max(usage.started_at_milliseconds + usage.duration_milliseconds for usage in usages)
            self._books.metrics.record_age_seconds.set(max(0.0, (now.milliseconds - newest) / 1000))
        self._projector.wake({entry.usage.namespace for entry in entries})


class Sweeper:
    """Reservations of which nothing was heard become charges; those of refused requests are taken back."""

    def __init__(
        self, books: Books, projector: Projector, to_release: deque[tuple[str, str]], every_seconds: float
    ) -> None:
        self._books = books
        self._projector = projector
        self._to_release = to_release
        self._every_seconds = every_seconds

    async def run(self) -> None:
        while True:
            try:
                await self.sweep()
            except (CountersUnavailable, LedgerUnavailable) as error:
                log.warning("reservations wait", error=str(error))
            await asyncio.sleep(self._every_seconds)

    async def sweep(self) -> None:
        """Raises CountersUnavailable and LedgerUnavailable."""
        await self._release_refused()
        for namespace in sorted(self._books.directory.namespaces() | self._projector.namespaces()):
            while await self._charge_expired(namespace) == SWEEP_RESERVATIONS:
                pass

    async def _release_refused(self) -> None:
        while self._to_release:
            namespace, request_id = self._to_release[0]
            await self._books.counters.release(namespace, [request_id])
            self._to_release.popleft()

    async def _charge_expired(self, namespace: str) -> int:
        now = now_of(self._books.clock)
        if not await self._books.counters.expired(namespace, now, 1):
            return 0
        await self._projector.bring_forward(namespace)  # what is settled by now is no longer found
        found = await self._books.counters.expired(namespace, now, SWEEP_RESERVATIONS)
        entries = await self._books.ledger.post([reservation.charge() for reservation in found], now)
        for entry in entries:
            self._books.metrics.posted(entry)
        self._books.metrics.reservations_charged.inc(len(entries))
        if entries:
            log.warning(
                "requests without usage are charged their reservations", namespace=namespace, requests=len(entries)
            )
        await self._release_settled(namespace, {r.request_id for r in found} - {e.usage.request_id for e in entries})
        await self._projector.bring_forward(namespace)
        return len(found)

    async def _release_settled(self, namespace: str, request_ids: set[str]) -> None:
        """Reservations made after their request was charged already: nothing would ever settle them."""
        if not request_ids:
            return
        seqs = await self._books.ledger.seqs(sorted(request_ids))
        cursor = self._projector.cursor(namespace)
        await self._books.counters.release(
            namespace, sorted(i for i in request_ids if seqs.get(i, cursor + 1) <= cursor)
        )


class Pruner:
    """Deletes old entries of the ledger; the daily sums, which budgets and reports read, stay."""

    def __init__(self, books: Books, keep_days: int) -> None:
        self._books = books
        self._keep_milliseconds = keep_days * DAY_MILLISECONDS

    async def run(self) -> None:
        while True:
            pause_seconds = PRUNE_SECONDS
            try:
                if await self.prune() == PRUNE_ENTRIES:
                    pause_seconds = 0.1  # there are more: let others write in between
            except LedgerUnavailable as error:
                log.warning("old entries stay", error=str(error))
            await asyncio.sleep(pause_seconds)

    async def prune(self) -> int:
        """Returns how many went. Raises LedgerUnavailable."""
        before = now_of(self._books.clock).milliseconds - self._keep_milliseconds
        return await self._books.ledger.prune(before, PRUNE_ENTRIES)
