"""Running a service, or the home of another service, inside a test."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from arks.kit.app import App
from arks.kit.home import LocalHome
from arks.kit.tasks import cancel
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


@asynccontextmanager
async def running_home(home: LocalHome) -> AsyncIterator[LocalHome]:
    """Run a home as another service has it. Call `facts` and `fact_writer` first: what is added later does not run."""
    await home.start()
    runs = [asyncio.ensure_future(run()) for run in home.runs()]
    try:
        yield home
    finally:
        for run in runs:
            await cancel(run)
        await home.stop()
