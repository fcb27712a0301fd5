"""Steady traffic of the official OpenAI client: the outcome of each request, and the usage in its answers."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import astuple, dataclass, field
from itertools import cycle, pairwise

import httpx
import openai

from arks.kit.testing.wait import eventually

_TIMEOUT_SECONDS = 120.0
_PAUSE_SECONDS = 0.1
"""Engines on processors would use all of them otherwise, and everything that a journey waits for would be slower."""
OK, NO_CONNECTION, CUT, WRONG = "ok", "no connection", "cut", "wrong"
"""A cut stream ended before its last chunk; a wrong answer has no content or no usage. Other outcomes are statuses."""


@dataclass
class UsageTotals:
    """Sums of the usage in answers that came to their end."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def __add__(self, other: "UsageTotals") -> "UsageTotals":
        return UsageTotals(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))

    def add(self, usage: openai.types.CompletionUsage | None) -> None:
        assert usage is not None, "an answer without usage"
        self.requests += 1
        self.prompt_tokens += usage.prompt_tokens
        self.completion_tokens += usage.completion_tokens


@dataclass(frozen=True)
class Outcome:
    began: float
    ended: float
    """Both monotonic."""
    what: str
    detail: str = ""


@dataclass
class Traffic:
    """Requests one after the other on a few connections, whole answers and streams in turn."""

    url: str
    """With /v1."""
    key: str
    model: str
    connections: int = 2
    max_tokens: int = 2
    streams: bool = False
    """Only streams."""
    ignore_eos: bool = False
    """Every answer has max_tokens."""
    usage: UsageTotals = field(default_factory=UsageTotals)
    outcomes: list[Outcome] = field(default_factory=list)
    _stopping: bool = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Traffic"]:
        """Traffic until the end of the block; requests in flight then come to their end."""
        self._stopping = False
        task = asyncio.create_task(self._run())
        try:
            await self.answers(1)
            yield self
            self._stopping = True
            await task
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def answers(self, count: int = 20, *, within_seconds: float = 180.0) -> None:
        """Wait until so many requests that begin from now on have good answers."""
        since = time.monotonic()
        what = f"{count} good answers"
        try:
            await eventually(lambda: self.since(since)[OK] >= count, within_seconds=within_seconds, what=what)
        except AssertionError as error:
            raise AssertionError(f"{error}; {self.faults(since)}") from None

    def since(self, moment: float = 0.0) -> Counter[str]:
        """Outcomes of the requests that began then or later."""
        return Counter(found.what for found in self.outcomes if found.began >= moment)

    def faults(self, moment: float = 0.0) -> list[Outcome]:
        """What did not end well since then, whenever it began."""
        return [found for found in self.outcomes if found.ended >= moment and found.what != OK]

    def longest_gap_seconds(self, moment: float) -> float:
        """The longest time without a good answer since then."""
        good = [moment, *sorted(found.ended for found in self.outcomes if found.ended >= moment and found.what == OK)]
        return max((later - earlier for earlier, later in pairwise(good)), default=float("inf"))

    async def _run(self) -> None:
        async with openai.AsyncOpenAI(
            base_url=self.url, api_key=self.key, max_retries=0, timeout=_TIMEOUT_SECONDS
        ) as client:
            await asyncio.gather(*(self._one_after_the_other(client) for _ in range(self.connections)))

    async def _one_after_the_other(self, client: openai.AsyncOpenAI) -> None:
        for streamed in cycle([True] if self.streams else [False, True]):
            if self._stopping:
                return
            began = time.monotonic()
            what, detail = await self._request(client, streamed)
            self.outcomes.append(Outcome(began, time.monotonic(), what, detail))
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _request(self, client: openai.AsyncOpenAI, streamed: bool) -> tuple[str, str]:
        try:
            usage = await (self._streamed(client) if streamed else self._whole(client))
        except openai.APIStatusError as error:
            return str(error.status_code), error.message
        except openai.APIConnectionError as error:
            # h11's words for a body that ends early, chunked or with a length: the answer had begun. The cause is of
            # httpx or of httpcore, depending on where the body was read.
            begun = "without sending complete message body" in str(error.__cause__)
            return (CUT if begun else NO_CONNECTION), repr(error.__cause__ or error)
        except (httpx.HTTPError, openai.APIError) as error:  # in the middle of an answer
            return CUT, repr(error)
        if usage is None:
            return (CUT if streamed else WRONG), "no usage"
        self.usage.add(usage)
        return OK, ""

    async def _whole(self, client: openai.AsyncOpenAI) -> openai.types.CompletionUsage | None:
        answer = await client.chat.completions.create(
            model=self.model,
            messages=[{"role": "user", "content": "Hi"}],
            max_tokens=self.max_tokens,
            extra_body={"ignore_eos": self.ignore_eos},
        )
        return answer.usage if answer.choices[0].message.content is not None else None

    async def _streamed(self, client: openai.AsyncOpenAI) -> openai.types.CompletionUsage | None:
        stream = await client.chat.completions.create(
            model=self.model,
            messages=[{"role": "user", "content": "Hi"}],
            max_tokens=self.max_tokens,
            stream=True,
            stream_options={"include_usage": True},
            extra_body={"ignore_eos": self.ignore_eos},
        )
        usages = [chunk.usage async for chunk in stream if chunk.usage is not None]
        return usages[-1] if usages else None
