"""Keeps in the ledger which namespace each key belongs to, so that no restart and no deleted token gives a key to
another namespace.
"""

import asyncio
from collections.abc import Iterable

import structlog

from arks.kit.clock import Clock
from arks.kit.key import Key
from arks.token_quota.domain.time import Moment
from arks.token_quota.service.index import Index
from arks.token_quota.service.ports.key_owners import KeyOwnerStore
from arks.token_quota.service.ports.ledger import LedgerUnavailable

log = structlog.get_logger(__name__)

WRITE_SECONDS = 0.2
EXPIRE_SECONDS = 5.0
WRITE_ROWS = 500
RETRY_SECONDS = 0.5


class KeyOwners:
    def __init__(self, index: Index, store: KeyOwnerStore, clock: Clock, reserved_seconds: float) -> None:
        """`reserved_seconds`: how long a key stays reserved for its namespace after its last token has released it."""
        self._index = index
        self._store = store
        self._clock = clock
        self._reserved_milliseconds = int(reserved_seconds * 1000)
        self._loading = asyncio.Lock()
        self._loaded = False
        self._settled = asyncio.Event()
        self._next_expiry = 0.0

    async def load(self) -> None:
        """Read all rows, once, however long the ledger takes."""
        async with self._loading:
            while not self._loaded:
                try:
                    rows = await self._store.key_owners()
                except LedgerUnavailable as error:
                    log.warning("owners of keys cannot be read", error=str(error))
                    await asyncio.sleep(RETRY_SECONDS)
                    continue
                for row in rows:
                    self._emit(self._index.holders.restore(row))
                self._loaded = True

    async def settle(self) -> None:
        """All tokens and their keys are known: begin to write."""
        self._index.holders.settle()
        self._settled.set()

    async def run(self) -> None:
        await self._settled.wait()
        while True:
            try:
                await self.step()
            except LedgerUnavailable as error:
                log.warning("owners of keys cannot be written", error=str(error))
                await asyncio.sleep(RETRY_SECONDS)
            await asyncio.sleep(WRITE_SECONDS)

    async def step(self) -> None:
        """Free what was reserved long enough, then write what changed. Raises LedgerUnavailable."""
        if self._clock.monotonic() >= self._next_expiry:
            self._next_expiry = self._clock.monotonic() + EXPIRE_SECONDS
            expired, claimants = self._index.holders.expire(self._now() - self._reserved_milliseconds)
            self._emit(claimants)
            if expired:
                await self._store.forget_key_owners(expired)
        rows = self._index.holders.changed_rows(self._now())
        for at in range(0, len(rows), WRITE_ROWS):
            try:
                stored = await self._store.record_key_owners(rows[at : at + WRITE_ROWS])
            except LedgerUnavailable:
                self._index.holders.write_again(rows[at:])
                raise
            for row in stored:
                self._emit(self._index.holders.restore(row))

    def _now(self) -> int:
        return Moment.of(self._clock.now()).milliseconds

    def _emit(self, tokens: Iterable[Key]) -> None:
        for token in tokens:
            self._index.token_changes.emit(token)
