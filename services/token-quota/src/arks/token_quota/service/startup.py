"""The order of a start: tables of the ledger, resources and keys, then the port. No request is answered before all that
decides it is loaded.
"""

import asyncio
import gc
from collections.abc import Sequence
from typing import Protocol

import structlog

from arks.kit.types import AsyncCallable
from arks.token_quota.service.ports.ledger import LedgerUnavailable

log = structlog.get_logger(__name__)

RETRY_SECONDS = 0.5


class Server(Protocol):
    async def start(self) -> int:
        """Returns the port once it accepts connections."""

    async def run(self) -> None: ...


class Startup:
    def __init__(self, migrate: AsyncCallable, loads: Sequence[AsyncCallable], server: Server) -> None:
        """`migrate` brings the ledger's tables up to date, and raises LedgerUnavailable; `loads`, one after the other,
        return when admission can use what they load.
        """
        self._migrate = migrate
        self._loads = loads
        self._server = server
        self._migrated = asyncio.Event()
        self._listening = asyncio.Event()

    def problem(self) -> str | None:
        if not self._migrated.is_set():
            return "the ledger's database does not answer"
        return None if self._listening.is_set() else "the API does not listen yet"

    async def migrate(self) -> None:
        """Returns when the tables are up to date, however long the database takes to answer."""
        while True:
            try:
                await self._migrate()
                break
            except LedgerUnavailable as error:
                log.warning("the ledger cannot be opened", error=str(error))
                await asyncio.sleep(RETRY_SECONDS)
        self._migrated.set()

    async def serve(self) -> None:
        await self._migrated.wait()
        for load in self._loads:
            await load()
        gc.collect()
        gc.freeze()  # else a collection visits all that was loaded: 100,000 tokens and the program itself
        port = await self._server.start()
        self._listening.set()
        log.info("API listens", port=port)
        await self._server.run()

    def after_migration(self, run: AsyncCallable) -> AsyncCallable:
        """The same task, started once the tables exist."""

        async def start() -> None:
            await self._migrated.wait()
            await run()

        return start
