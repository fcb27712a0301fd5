"""A call of admission that is repeated for the same request gets the same grant: a second reservation would be held by
no request, and at a limit the repetition would be refused because of the first one.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from arks.token_quota.domain.answers import Rejection
from arks.token_quota.service.admission import AdmitRequest, Granted, Held

KEEP_SECONDS: Final = 2.0
"""As long as a gateway waits for an answer."""
MAX_KEPT: Final = 4096
"""The oldest grants are forgotten first; their repetitions reserve again."""

Answer = Granted | Held | Rejection
_Call = tuple[str, AdmitRequest]


class RepeatedAdmissions:
    """Of one replica: gateways repeat a call over the connection that they have."""

    def __init__(
        self, admit: Callable[[AdmitRequest], Awaitable[Answer]], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._admit = admit
        self._monotonic = monotonic
        self._calls: dict[_Call, tuple[float, asyncio.Future[Answer]]] = {}
        """In the order of their calls."""

    async def admit(self, request_id: str | None, request: AdmitRequest) -> Answer:
        if not request_id:
            return await self._admit(request)
        call, now = (request_id, request), self._monotonic()
        self._forget(now)
        known = self._calls.get(call)
        if known is not None:
            return await asyncio.shield(known[1])
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._calls[call] = (now, future)
        return await self._answer(call, future)

    async def _answer(self, call: _Call, future: asyncio.Future[Answer]) -> Answer:
        """Only a grant reserves anything, so only those who wait for another answer get it."""
        answer: Answer | None = None
        try:
            answer = await self._admit(call[1])
            future.set_result(answer)
        finally:
            if answer is None:
                future.cancel()
            if not isinstance(answer, Granted):
                self._calls.pop(call, None)
        return answer

    def _forget(self, now: float) -> None:
        while self._calls:
            oldest = next(iter(self._calls))
            if self._calls[oldest][0] + KEEP_SECONDS > now and len(self._calls) < MAX_KEPT:
                return
            del self._calls[oldest]
