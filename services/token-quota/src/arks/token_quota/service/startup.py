"""What has to happen in order at the start: tables, then what exists, then the port. Requests are never answered
half-informed.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog

from arks.kit.home import Home
from arks.token_quota.adapters.database import Database
from arks.token_quota.adapters.server import GranianServer
from arks.token_quota.service.keyring import Keyring
from arks.token_quota.service.ports import LedgerUnavailable
from arks.token_quota.service.quotas import Quotas

log = structlog.get_logger(__name__)

_AGAIN_SECONDS = 0.5


@dataclass(frozen=True)
class Lifecycle:
    home: Home
    database: Database
    keyring: Keyring
    quotas: Quotas
    server: GranianServer
    migrated: asyncio.Event = field(default_factory=asyncio.Event)
    listening: asyncio.Event = field(default_factory=asyncio.Event)

    def problem(self) -> str | None:
        if not self.migrated.is_set():
            return "the ledger's database does not answer"
        return None if self.listening.is_set() else "the API does not listen yet"

    async def serve(self) -> None:
        """Read what exists, then answer requests."""
        await self.migrated.wait()
        await self.home.synced()
        await self.quotas.load()
        await self.keyring.load()
        port = await self.server.start()
        self.listening.set()
        log.info("API listens", port=port)
        await self.server.run()

    def after_migration(self, run: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
        """The same task, begun when there are tables."""

        async def begin() -> None:
            await self.migrated.wait()
            await run()

        return begin

    async def migrate(self) -> None:
        """Returns when the tables are those that the code expects, however long the database takes to answer."""
        while True:
            try:
                await self.database.migrate()
                break
            except LedgerUnavailable as error:
                log.warning("the ledger cannot be opened", error=str(error))
                await asyncio.sleep(_AGAIN_SECONDS)
        self.migrated.set()
