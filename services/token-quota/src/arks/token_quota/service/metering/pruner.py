"""Deletes old entries of the ledger; the daily sums, which budgets and reports read, stay."""

import asyncio

import structlog

from arks.kit.clock import Clock
from arks.token_quota.domain.time import DAY_MILLISECONDS, Moment
from arks.token_quota.service.ports.ledger import Ledger, LedgerUnavailable

log = structlog.get_logger(__name__)

PRUNE_ENTRIES = 2000
PRUNE_SECONDS = 3600.0


class Pruner:
    def __init__(self, ledger: Ledger, clock: Clock, keep_days: int) -> None:
        self._ledger = ledger
        self._clock = clock
        self._keep_milliseconds = keep_days * DAY_MILLISECONDS

    async def run(self) -> None:
        while True:
            pause_seconds = PRUNE_SECONDS
            try:
                if await self.prune() == PRUNE_ENTRIES:
                    pause_seconds = 0.1  # more entries are old: let other writers in between
            except LedgerUnavailable as error:
                log.warning("old entries stay", error=str(error))
            await asyncio.sleep(pause_seconds)

    async def prune(self) -> int:
        """Returns the number of deleted entries. Raises LedgerUnavailable."""
        before = Moment.of(self._clock.now()).milliseconds - self._keep_milliseconds
        return await self._ledger.prune(before, PRUNE_ENTRIES)
