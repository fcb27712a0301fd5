"""Waiting for a condition instead of for a time.

The limit is generous, because only a failing test pays for it.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")


@overload
async def eventually(
    condition: Callable[[], Awaitable[T]],
    *,
    within_seconds: float = 30.0,
    every_seconds: float = 0.01,
    what: str = "condition",
) -> T: ...
@overload
async def eventually(
    condition: Callable[[], T], *, within_seconds: float = 30.0, every_seconds: float = 0.01, what: str = "condition"
) -> T: ...
async def eventually(
    condition: Callable[[], Any], *, within_seconds: float = 30.0, every_seconds: float = 0.01, what: str = "condition"
) -> Any:
    """Poll until the condition is truthy, and return it. Raises AssertionError with the last answer.

    A condition that starts a program needs a longer `every_seconds`, or it takes a processor for as long as it waits.
    """
    answer: object = None
    try:
        async with asyncio.timeout(within_seconds):
            while True:
                answer = condition()
                if inspect.isawaitable(answer):
                    answer = await answer
                if answer:
                    return answer
                await asyncio.sleep(every_seconds)
    except TimeoutError:
        raise AssertionError(f"{what} did not come true within {within_seconds} s; last: {answer!r}") from None
