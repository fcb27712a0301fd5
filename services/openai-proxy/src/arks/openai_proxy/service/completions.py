"""Completes a generation; calls that fail before the engine has begun are repeated."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import TypeVar

from arks.engine.v1.ark_pb2 import CompleteResponse, Generation, Model, StreamCompleteResponse
from arks.openai_proxy.domain.retries import pause_seconds
from arks.openai_proxy.service.ports import Engine, EngineFailed

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[None]]
_Begun = tuple[StreamCompleteResponse, AsyncGenerator[StreamCompleteResponse, None]]


class Completions:
    def __init__(
        self, engine: Engine, *, on_retry: Callable[[], None] = lambda: None, sleep: Sleep = asyncio.sleep
    ) -> None:
        self._engine = engine
        self._on_retry = on_retry
        self._sleep = sleep

    async def models(self) -> Sequence[Model]:
        """Raises EngineFailed."""
        return await self._repeat(self._engine.models)

    async def complete(self, generation: Generation) -> CompleteResponse:
        """Raises EngineFailed. Cancellation ends the generation."""
        return await self._repeat(lambda: self._engine.complete(generation))

    async def stream(self, generation: Generation) -> AsyncGenerator[StreamCompleteResponse, None]:
        """Wait for the first event; return all events. Raises EngineFailed, also while the events are read.

        Nothing is repeated after the first event. Closing the generator ends the generation.
        """
        first, events = await self._repeat(lambda: self._begin(generation))
        return _with_first(first, events)

    async def _begin(self, generation: Generation) -> _Begun:
        events = self._engine.stream(generation)
        try:
            return await anext(events), events
        except StopAsyncIteration:
            raise EngineFailed("INTERNAL", "the stream ended without an event") from None
        except BaseException:
            await events.aclose()
            raise

    async def _repeat(self, call: Callable[[], Awaitable[T]]) -> T:
        attempt = 1
        while True:
            try:
                return await call()
            except EngineFailed as error:
                await self._wait(error, attempt)
                attempt += 1

    async def _wait(self, error: EngineFailed, attempt: int) -> None:
        """Wait before the next attempt. Raises `error` if there is none."""
        if (pause := pause_seconds(error.status, attempt)) is None:
            raise error
        self._on_retry()
        await self._sleep(pause)


async def _with_first(
    first: StreamCompleteResponse, events: AsyncGenerator[StreamCompleteResponse, None]
) -> AsyncGenerator[StreamCompleteResponse, None]:
    async with aclosing(events):
        yield first
        async for event in events:
            yield event
