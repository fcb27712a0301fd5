"""A call of admission that is repeated for the same request gets the same grant: a second reservation would be held by
no request, and at a limit the repetition would be refused because of the first one.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from arks.token_quota.domain.answers import Rejection
from arks.token_quota.service.admission import AdmitRequest, Granted, Held

KEEP_SECONDS: Final = 2.0
"""As long as a gateway waits for an answer."""
MAX_KEPT: Final = 4096
"""The oldest grants are forgotten first; their repetitions reserve again."""

Answer = Granted | Held | Rejection
_Call = tuple[str, AdmitRequest]


@dataclass(slots=True)
class _Known:
    began: float
    answer: asyncio.Future[Answer]
    callers: int = 1
    """Those that have got the answer or wait for it."""


class RepeatedAdmissions:
    """Of one replica: gateways repeat a call over the connection that they have."""

    def __init__(
        self, admit: Callable[[AdmitRequest], Awaitable[Answer]], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._admit = admit
        self._monotonic = monotonic
        self._calls: dict[_Call, _Known] = {}
        """In the order of their calls."""

    async def admit(self, request_id: str | None, request: AdmitRequest) -> Answer:
        if not request_id:
            return await self._admit(request)
        call, now = (request_id, request), self._monotonic()
        self._forget(now)
        known = self._calls.get(call)
        if known is not None:
            known.callers += 1
            return await asyncio.shield(known.answer)
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._calls[call] = _Known(now, future)
        return await self._answer(call, future)

    def drop(self, request_id: str | None, request: AdmitRequest) -> bool:
        """One caller is gone before its answer was sent. Returns whether certainly no other one gets or has got it."""
        if not request_id:
            return True
        known = self._calls.get((request_id, request))
        if known is None:
            return False
        known.callers -= 1
        if known.callers == 0:
            del self._calls[request_id, request]
        return known.callers == 0

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
            known = self._calls[oldest]
            is_kept = known.began + KEEP_SECONDS > now or not known.answer.done()
            if is_kept and len(self._calls) < MAX_KEPT:
                return
            del self._calls[oldest]
