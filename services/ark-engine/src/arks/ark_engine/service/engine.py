"""Generates, and processes prompts for decoders."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field

from arks.ark_engine.domain import events as llama_events
from arks.ark_engine.domain.bodies import check, decode_body, path
from arks.ark_engine.domain.failures import Failed, stopping
from arks.ark_engine.domain.slots import prompt_text
from arks.ark_engine.service.kept_states import EXPIRES_SECONDS, KeptStates
from arks.ark_engine.service.ports import Llama
from arks.ark_engine.service.prompts import Prepared, Prompts
from arks.ark_engine.service.slot_queue import SlotQueue
from arks.engine.v1.ark_pb2 import Generation, HandOver, StreamCompleteResponse, StreamEnd, Timing, Usage
from arks.kit.clock import Clock
from arks.kit.tasks import cancel


@dataclass
class _Ended:
    """Last item of a choice."""

    usage: Usage
    timing: Timing
    error: BaseException | None = None


@dataclass
class Totals:
    """Since the engine's start."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    finished: int = 0


@dataclass
class _Running:
    queue: "asyncio.Queue[StreamCompleteResponse | _Ended]" = field(default_factory=asyncio.Queue)
    """Bounded by the context: each token is one event."""
    choices: list["asyncio.Task[None]"] = field(default_factory=list)


class Engine:
    def __init__(
        self,
        llama: Llama,
        slots: SlotQueue,
        prompts: Prompts,
        states: KeptStates,
        *,
        model: str,
        fingerprint: str,
        clock: Clock,
    ) -> None:
        """`model`: the name under which it is served."""
        self._llama = llama
        self._prompts = prompts
        self._states = states
        self._model = model
        self._fingerprint = fingerprint
        self._clock = clock
        self._running: dict[str, _Running] = {}
        self._stopping = False
        self.slots = slots
        self.totals = Totals()

    async def stream(self, generation: Generation) -> AsyncGenerator[StreamCompleteResponse, None]:
        """Every event of a generation. Raises Failed. Closing the generator frees its slots."""
        self._admit(generation)
        running = _Running()
        self._running[generation.id] = running
        count = generation.choices or 1
        running.choices = [asyncio.create_task(self._choice(generation, index, running)) for index in range(count)]
        try:
            usage, timing = Usage(), Timing()
            while count:
                item = await running.queue.get()
                if isinstance(item, StreamCompleteResponse):
                    yield item
                    continue
                if item.error is not None:
                    raise item.error
                count -= 1
                _add(usage, item.usage)
                timing = item.timing
            yield StreamCompleteResponse(finish=StreamEnd(usage=usage, timing=timing))
        finally:
            self.totals.finished += 1
            self._running.pop(generation.id, None)
            for choice in running.choices:
                await cancel(choice)

    def cancel(self, id_: str) -> bool:
        """End a generation; False if there is none with this id."""
        running = self._running.get(id_)
        if running is None:
            return False
        error = Failed("CANCELLED", "the generation was cancelled")
        running.queue.put_nowait(_Ended(Usage(), Timing(), error))
        return True

    async def prefill(self, generation: Generation) -> HandOver:
        """Process a prompt and keep its KV state. Raises Failed."""
        self._admit(generation)
        name = self._states.new_name()
        try:
            async with self.slots.slot(prompt_text(generation)) as slot:
                prepared = await self._prompts.compute(generation, slot)
                state_bytes = await self._llama.save(slot, name)
        except BaseException:
            self._states.discard(name)
            raise
        self._states.keep(name)
        self.totals.prompt_tokens += prepared.prompt_tokens
        self.totals.finished += 1
        return HandOver(
            id=name,
            state_bytes=state_bytes,
            prompt_tokens=prepared.prompt_tokens,
            expires_milliseconds=int(EXPIRES_SECONDS * 1000),
            prefill_milliseconds=prepared.prefill_milliseconds,
            fingerprint=self._fingerprint,
        )

    def stop(self) -> None:
        """Take no new generations; running ones end by themselves."""
        self._stopping = True

    @property
    def stopping(self) -> bool:
        return self._stopping

    def _admit(self, generation: Generation) -> None:
        if self._stopping:
            raise stopping()
        check(generation, self._model)
        if generation.id in self._running:
            raise Failed("INVALID_ARGUMENT", f"a generation with the id {generation.id!r} is running", param="id")

    async def _choice(self, generation: Generation, index: int, running: _Running) -> None:
        """Put the events of a choice into the queue, and its end, whatever happens."""
        ended = _Ended(Usage(), Timing())
        try:
            await self._generate(generation, index, running, ended)
        except Exception as error:  # noqa: BLE001  # the reader of the queue raises it
            ended.error = error
        running.queue.put_nowait(ended)

    async def _generate(self, generation: Generation, index: int, running: _Running, ended: _Ended) -> None:
        began = self._clock.monotonic()
        async with self.slots.slot(prompt_text(generation)) as slot:
            queued = self._clock.monotonic()
            prepared = await self._prompts.prepare(generation, slot)
            decoding, first = self._clock.monotonic(), 0.0
            body = decode_body(generation, slot, index)
            async with aclosing(self._llama.stream(path(generation), body)) as chunks:
                async for chunk in chunks:
                    for event in llama_events.of_chunk(chunk, index):
                        first = first or self._clock.monotonic()
                        running.queue.put_nowait(event)
                    if (tokens := llama_events.tokens(chunk)) is not None:
                        self._count(ended.usage, prepared, tokens, first_choice=index == 0)
        ended.timing.CopyFrom(
            Timing(
                queue_milliseconds=(queued - began) * 1000,
                prefill_milliseconds=prepared.prefill_milliseconds,
                transfer_milliseconds=prepared.transfer_milliseconds,
                first_token_milliseconds=max(0.0, first - decoding) * 1000,
                prefiller=prepared.prefiller,
            )
        )

    def _count(self, usage: Usage, prepared: Prepared, tokens: llama_events.Tokens, *, first_choice: bool) -> None:
        """The prompt counts once, however many choices are made of it."""
        usage.completion_tokens = tokens.completion
        self.totals.completion_tokens += tokens.completion
        if first_choice:
            usage.prompt_tokens = prepared.prompt_tokens
            usage.cached_prompt_tokens = prepared.cached_tokens
            self.totals.prompt_tokens += prepared.prompt_tokens


def _add(total: Usage, usage: Usage) -> None:
    total.prompt_tokens += usage.prompt_tokens
    total.completion_tokens += usage.completion_tokens
    total.cached_prompt_tokens += usage.cached_prompt_tokens
