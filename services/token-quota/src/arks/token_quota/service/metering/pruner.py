"""Deletes old rows of the ledger; the daily sums, which budgets and reports read, stay."""

import asyncio

import structlog

from arks.kit.clock import Clock
from arks.token_quota.domain.time import DAY_MILLISECONDS, Moment
from arks.token_quota.service.ports.ledger import Ledger, LedgerUnavailable, PruneBefore

log = structlog.get_logger(__name__)

PRUNE_ROWS = 2000
CHANGES_KEEP_DAYS = 1
"""Counters follow within seconds. Counters that are further behind are filled from the ledger again."""
BATCHES_KEEP_DAYS = 31
"""The usage stream keeps its messages for 30 days."""
PRUNE_SECONDS = 3600.0


class Pruner:
    def __init__(self, ledger: Ledger, clock: Clock, keep_days: int) -> None:
        self._ledger = ledger
        self._clock = clock
        self._keep_days = keep_days

    async def run(self) -> None:
        while True:
            pause_seconds = PRUNE_SECONDS
            try:
                if await self.prune() == PRUNE_ROWS:
                    pause_seconds = 0.1  # more rows are old: let other writers in between
            except LedgerUnavailable as error:
                log.warning("old rows stay", error=str(error))
            await asyncio.sleep(pause_seconds)

    async def prune(self) -> int:
        """Returns the number of deleted rows of the kind with the most. Raises LedgerUnavailable."""
        now = Moment.of(self._clock.now()).milliseconds
        days = (self._keep_days, BATCHES_KEEP_DAYS, CHANGES_KEEP_DAYS)
        return await self._ledger.prune(PruneBefore(*(now - kept * DAY_MILLISECONDS for kept in days)), PRUNE_ROWS)
