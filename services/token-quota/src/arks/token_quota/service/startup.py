"""The order of a start: tables of the ledger, resources and keys, then the port. No request is answered before all that
decides it is loaded.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

import structlog

from arks.kit.process import collect_rarely
from arks.kit.types import AsyncCallable
from arks.token_quota.service.migration import Migration

log = structlog.get_logger(__name__)


class Server(Protocol):
    async def start(self) -> int:
        """Returns the port once it accepts connections."""

    async def run(self) -> None: ...


class Startup:
    def __init__(self, migration: Migration, loads: Sequence[AsyncCallable], server: Server) -> None:
        """`loads`, one after the other, return when admission can use what they load."""
        self._migration = migration
        self._loads = loads
        self._server = server
        self._listening = asyncio.Event()

    def problem(self) -> str | None:
        return None if self._listening.is_set() else "the API does not listen yet"

    async def serve(self) -> None:
        await self._migration.done()
        for load in self._loads:
            await load()
        collect_rarely()  # else a collection visits all that was loaded: 100,000 tokens and the program itself
        port = await self._server.start()
        self._listening.set()
        log.info("API listens", port=port)
        await self._server.run()
