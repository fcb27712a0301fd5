"""An engine in memory that follows a script, for tests of the proxy."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

from arks.engine.v1.ark_pb2 import (
    Choice,
    ChoiceEnd,
    CompleteResponse,
    Delta,
    FinishReason,
    Generation,
    HealthResponse,
    Model,
    StreamCompleteResponse,
    StreamEnd,
    Usage,
)
from arks.openai_proxy.service.ports import EngineFailed

MODEL = "fake"
WORDS = ("Hello", ", ", "world")


def events(words: Sequence[str] = WORDS) -> list[StreamCompleteResponse]:
    """The events of one choice."""
    deltas = [StreamCompleteResponse(delta=Delta(text=word)) for word in words]
    end = StreamCompleteResponse(end=ChoiceEnd(finish_reason=FinishReason.FINISH_REASON_STOP))
    usage = Usage(prompt_tokens=7, completion_tokens=len(words), cached_prompt_tokens=2)
    return [*deltas, end, StreamCompleteResponse(finish=StreamEnd(usage=usage))]


class FakeEngine:
    """Satisfies `Engine`."""

    def __init__(self) -> None:
        self.generations: list[Generation] = []
        self.failures: list[EngineFailed] = []
        """Raised by the next calls, first one first."""
        self.fail_after: int | None = None
        """A stream fails after this many events."""
        self.hangs = False
        """Generations never end by themselves."""
        self.ended_early = 0

    async def models(self) -> Sequence[Model]:
        self._fail()
        return [Model(id=MODEL, created_seconds=1, owned_by="arks", context_tokens=2048)]

    async def health(self) -> HealthResponse:
        self._fail()
        return HealthResponse(status=HealthResponse.STATUS_READY, slots=4, running=1, waiting=2)

    async def complete(self, generation: Generation) -> CompleteResponse:
        self._note(generation)
        await self._hang()
        choices = [
            Choice(index=index, text="".join(WORDS), finish_reason=FinishReason.FINISH_REASON_STOP)
            for index in range(generation.choices)
        ]
        return CompleteResponse(choices=choices, usage=Usage(prompt_tokens=7, completion_tokens=len(WORDS)))

    async def stream(self, generation: Generation) -> AsyncGenerator[StreamCompleteResponse, None]:
        self._note(generation)
        for number, event in enumerate(events()):
            if number == self.fail_after:
                raise EngineFailed("INTERNAL", "the engine's own words")
            yield event
            if number == 0:
                await self._hang()

    def _note(self, generation: Generation) -> None:
        self._fail()
        self.generations.append(generation)

    def _fail(self) -> None:
        if self.failures:
            raise self.failures.pop(0)

    async def _hang(self) -> None:
        if not self.hangs:
            return
        try:
            await asyncio.Event().wait()
        finally:
            self.ended_early += 1
