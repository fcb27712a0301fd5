"""Running a service inside a test."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from arks.kit.app import App

READY_SECONDS = 90.0


@asynccontextmanager
async def running(app: App) -> AsyncIterator[App]:
    """The service from ready to stopped. Raises the error with which it ends, also before it is ready."""
    stop = asyncio.Event()
    serving = asyncio.create_task(app.serve(stop))
    try:
        await _until_ready(app, serving)
        yield app
    finally:
        stop.set()
        await serving


async def _until_ready(app: App, serving: "asyncio.Task[None]") -> None:
    ready = asyncio.ensure_future(app.ready.wait())
    await asyncio.wait({ready, serving}, return_when=asyncio.FIRST_COMPLETED, timeout=READY_SECONDS)
    ready.cancel()
    if not serving.done() and not app.ready.is_set():
        raise AssertionError(f"not ready after {READY_SECONDS} s: {app.problems()}")
    if serving.done():
        serving.result()
