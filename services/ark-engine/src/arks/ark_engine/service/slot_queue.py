"""Slots for generations, first come, first served."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from arks.ark_engine.domain.failures import full
from arks.ark_engine.domain.slots import Slots


class SlotQueue:
    def __init__(self, count: int, most_waiting: int) -> None:
        self._slots = Slots(count)
        self._most_waiting = most_waiting
        self._waiting: deque[asyncio.Future[int]] = deque()

    @property
    def count(self) -> int:
        return self._slots.count

    @property
    def running(self) -> int:
        return self._slots.busy

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @asynccontextmanager
    async def slot(self, prompt: str) -> AsyncIterator[int]:
        """A slot until the context ends. Raises Failed when too many wait already."""
        slot = self._slots.take(prompt)
        if slot is None:
            slot = await self._wait()
        try:
            yield slot
        finally:
            self._pass_on(slot, prompt)

    async def _wait(self) -> int:
        if len(self._waiting) >= self._most_waiting:
            raise full(len(self._waiting))
        turn: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                with contextlib.suppress(ValueError):
                    self._waiting.remove(turn)
            else:  # the slot came at the same moment
                self._pass_on(turn.result(), "")
            raise

    def _pass_on(self, slot: int, prompt: str) -> None:
        """Give the slot to the first in line, or free it."""
        while self._waiting and self._waiting[0].done():
            self._waiting.popleft()
        if self._waiting:
            self._waiting.popleft().set_result(slot)
        else:
            self._slots.free(slot, prompt)
