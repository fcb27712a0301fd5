"""Brings the ledger's tables up to date at the start of a process. Whatever uses them waits for it."""

import asyncio

import structlog

from arks.kit.types import AsyncCallable
from arks.token_quota.service.ports.ledger import LedgerUnavailable

log = structlog.get_logger(__name__)

RETRY_SECONDS = 0.5


class Migration:
    def __init__(self, migrate: AsyncCallable) -> None:
        """`migrate` raises LedgerUnavailable."""
        self._migrate = migrate
        self._done = asyncio.Event()

    def problem(self) -> str | None:
        return None if self._done.is_set() else "the ledger's database does not answer"

    async def run(self) -> None:
        """Returns when the tables are up to date, however long the database takes to answer."""
        while True:
            try:
                await self._migrate()
                break
            except LedgerUnavailable as error:
                log.warning("the ledger cannot be opened", error=str(error))
                await asyncio.sleep(RETRY_SECONDS)
        self._done.set()

    async def done(self) -> None:
        """Returns when the tables are up to date."""
        await self._done.wait()
