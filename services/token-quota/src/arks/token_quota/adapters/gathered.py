"""One call for items that come while the last call is in flight."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

from arks.token_quota.service.ports.counters import CountersUnavailable

MAX_TOGETHER: Final = 64
MAX_WAITING: Final = 10_000

Item = TypeVar("Item")
Result = TypeVar("Result")


class Gathered(Generic[Item, Result]):
    """An item that comes while no call is in flight does not wait."""

    def __init__(self, call: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]]) -> None:
        """`call`: returns a result for each item."""
        self._call = call
        self._waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._calling: asyncio.Task[None] | None = None

    async def result(self, item: Item) -> Result:
        """Raises CountersUnavailable if too many wait, and what the call raises."""
        if len(self._waiting) >= MAX_WAITING:
            raise CountersUnavailable("too many calls wait for Redis")
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._calling is None:
            self._calling = asyncio.create_task(self._call_all(), name="gathered calls of redis")
        return await future

    async def _call_all(self) -> None:
        try:
            while self._waiting:
                await self._call_next()
        finally:
            self._calling = None

    async def _call_next(self) -> None:
        taken = [self._waiting.popleft() for _ in range(min(len(self._waiting), MAX_TOGETHER))]
        try:
            results = await self._call([item for item, _ in taken])
        except Exception as error:  # noqa: BLE001  # all that wait for the call raise it
            for _, future in taken:
                if not future.done():
                    future.set_exception(error)
        else:
            for (_, future), result in zip(taken, results, strict=True):
                if not future.done():
                    future.set_result(result)
