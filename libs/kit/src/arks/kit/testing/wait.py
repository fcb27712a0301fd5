"""Waiting for a condition instead of for a time."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def eventually(
    condition: Callable[[], T] | Callable[[], Awaitable[T]], *, within_seconds: float = 10.0, what: str = "condition"
) -> T:
    """Ask again until the condition is truthy, and return it. Raises AssertionError with the last answer."""
    answer: object = None
    try:
        async with asyncio.timeout(within_seconds):
            while True:
                answer = condition()
                if inspect.isawaitable(answer):
                    answer = await answer
                if answer:
                    return answer  # type: ignore[return-value]
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"{what} did not come true within {within_seconds} s; last: {answer!r}") from None
