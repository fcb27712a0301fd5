"""Long work in slices, so that other tasks of the loop run in between."""

import asyncio
import time
from collections.abc import Iterator

SLICE_SECONDS = 0.005
"""Much less than the time within which Envoy should have new weights."""


async def in_slices(steps: Iterator[None]) -> None:
    """Do all steps; after each slice, give way to other tasks."""
    until = time.perf_counter() + SLICE_SECONDS
    for _ in steps:
        if time.perf_counter() >= until:
            await asyncio.sleep(0)
            until = time.perf_counter() + SLICE_SECONDS
    await asyncio.sleep(0)
