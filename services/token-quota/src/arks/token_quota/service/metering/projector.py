"""Changes of the ledger into the counters."""

import asyncio
import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import structlog

from arks.token_quota.domain.change import LedgerChange
from arks.token_quota.domain.limits import Budget
from arks.token_quota.service.metering.context import RETRY_SECONDS, MeteringContext
from arks.token_quota.service.ports.counters import CountersUnavailable
from arks.token_quota.service.ports.ledger import LedgerUnavailable

log = structlog.get_logger(__name__)

READ_CHANGES = 64
"""Batches in one query."""
APPLY_CHANGES = 300
"""Lease changes in one script call, unless one batch has more: Redis does nothing else meanwhile (about 1 ms)."""


class Projector:
    def __init__(self, context: MeteringContext, interval_seconds: float) -> None:
        """`interval_seconds`: how often to look for changes that other replicas wrote or did not apply."""
        self._context = context
        self._interval_seconds = interval_seconds
        self._cursors: dict[str, int] = {}
        self._checked_upto = 0
        self._stale: set[str] = set()
        self._wake = asyncio.Event()
        self._applying = asyncio.Lock()

    def wake(self, namespaces: Iterable[str]) -> None:
        """These namespaces have new changes."""
        self._stale.update(namespaces)
        self._wake.set()

    def namespaces(self) -> set[str]:
        """Those whose changes were applied."""
        return set(self._cursors)

    async def run(self) -> None:
        while True:
            try:
                if not self._stale:
                    await self._find_stale_namespaces()
                for namespace in sorted(self._stale):
                    await self._bring_forward_stale(namespace)
                self._wake.clear()
            except (CountersUnavailable, LedgerUnavailable) as error:
                log.warning("counters lag behind the ledger", error=str(error))
                await asyncio.sleep(RETRY_SECONDS)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._interval_seconds):
                    await self._wake.wait()

    async def _bring_forward_stale(self, namespace: str) -> None:
        """A change that is written meanwhile makes the namespace stale again."""
        self._stale.discard(namespace)
        try:
            await self.bring_forward(namespace)
        except (CountersUnavailable, LedgerUnavailable):
            self._stale.add(namespace)
            raise

    async def bring_forward(self, namespace: str) -> None:
        """Apply the changes that the counters lack. Raises CountersUnavailable and LedgerUnavailable."""
        async with self._applying:
            cursor = self._cursors.get(namespace)
            if cursor is None:
                cursor = await self._open(namespace)
            more = True
            while more:
                changes, resets = await self._context.ledger.changes(namespace, cursor, READ_CHANGES)
                if not changes:
                    break
                if changes[0].previous_seq > cursor:
                    cursor = await self._begin_again(namespace, "changes that they lack are deleted")
                    continue
                cursor = await self._apply(namespace, cursor, changes, self._budgets(namespace, changes, resets))
                more = len(changes) == READ_CHANGES or cursor < changes[-1].seq

    async def _apply(
        self, namespace: str, cursor: int, changes: list[LedgerChange], budgets: Mapping[str, Budget]
    ) -> int:
        for part in _parts(changes):
            charged = [(change, budgets) for change in part]
            applied = await self._context.counters.apply(namespace, cursor, charged, self._context.now())
            if applied is None:
                return await self._open(namespace)
            self._cursors[namespace] = applied
            if applied != part[-1].seq:
                return applied  # another replica was faster
            cursor = applied
        return cursor

    async def _find_stale_namespaces(self) -> None:
        """Compare ledger and counters: at the start for all namespaces, then for those with newer changes."""
        last = await self._context.ledger.last_seq()
        if last == self._checked_upto:
            return
        heads = await self._context.ledger.heads(self._checked_upto)
        for namespace in heads:
            await self._open(namespace)
        lags = {namespace: head - self._cursors.get(namespace, 0) for namespace, head in heads.items()}
        self._context.metrics.counters_behind(sum(lag for lag in lags.values() if lag > 0))
        self._stale.update(namespace for namespace, lag in lags.items() if lag > 0)
        self._checked_upto = last

    async def _open(self, namespace: str) -> int:
        """The cursor of these counters. Counters ahead of the ledger contain entries that do not exist, because the
        ledger was restored from a copy: they begin again.
        """
        epoch = await self._context.counters.open(namespace, await self._context.ledger.last_seq())
        if epoch.cursor > await self._context.ledger.last_seq():
            return await self._begin_again(namespace, "they are ahead of the ledger")
        self._cursors[namespace] = epoch.cursor
        return epoch.cursor

    async def _begin_again(self, namespace: str, reason: str) -> int:
        """End the epoch; counters are filled from the ledger when they are needed. Returns the new cursor."""
        counters, last = self._context.counters, await self._context.ledger.last_seq()
        log.error("counters are filled from the ledger again", namespace=namespace, reason=reason)
        ended = await counters.open(namespace, last)
        epoch = await counters.open(namespace, last, replace=ended.id)
        self._cursors[namespace] = epoch.cursor
        return epoch.cursor

    def _budgets(self, namespace: str, changes: list[LedgerChange], resets: Mapping[str, int]) -> dict[str, Budget]:
        """By the name of their quota; a quota that was deleted has none. Which reset a change comes after is known from
        the ledger, because an ArksQuota shows it later than admission has begun to count anew.
        """
        names = {change.quota for batch in changes for change in batch.changes if change.quota}
        found = {name: self._context.budgets.of(namespace, name) for name in names}
        return {
            name: replace(budget, generation=max(budget.generation, resets.get(name, 0)))
            for name, budget in found.items()
            if budget is not None
        }


def _parts(changes: Sequence[LedgerChange]) -> Iterator[list[LedgerChange]]:
    """Runs of changes that fit into one call."""
    part: list[LedgerChange] = []
    size = 0
    for change in changes:
        if part and size + len(change.changes) > APPLY_CHANGES:
            yield part
            part, size = [], 0
        part.append(change)
        size += len(change.changes)
    if part:
        yield part
