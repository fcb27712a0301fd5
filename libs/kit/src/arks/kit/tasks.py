"""Cancels tasks reliably."""

import asyncio
from typing import Any

_AGAIN_SECONDS = 1.0
"""Long enough for a task's own clean-up: a database driver that is cancelled in its rollback may hang."""


async def cancel(task: "asyncio.Future[Any]") -> None:
    """Cancel `task` until it ends. Does not raise its result.

    `asyncio.wait_for`, which NATS' client uses, loses a cancellation that meets an answer (Python 3.11): a task that is
    cancelled once may run forever.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=_AGAIN_SECONDS)
