"""Running a service inside a test."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from arks.kit.app import App
from arks.kit.testing.wait import eventually

READY_SECONDS = 90.0


@asynccontextmanager
async def running(app: App) -> AsyncIterator[App]:
    """The service while it is ready, as /readyz reports it. Raises the error with which it ends, also before that."""
    stop = asyncio.Event()
    serving = asyncio.create_task(app.serve(stop))
    try:
        await eventually(
            lambda: serving.done() or not app.problems(), within_seconds=READY_SECONDS, what="the service is ready"
        )
        if serving.done():
            serving.result()
        yield app
    finally:
        stop.set()
        await serving
