"""Runs a service: start, ready, work, drain, stop.

Order of a start: health server (alive, not ready) -> NATS -> `starts` -> background work -> caches synced ->
controllers -> ready. SIGTERM and SIGINT drain: no new work, running work may end within `drain_seconds`, then
`stops` in reverse order. A background task that returns or raises ends the service with status 1, and its
supervisor restarts it.
"""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Sequence

import structlog
import uvloop
from aiohttp import web

from arks.kit.home import Home
from arks.kit.http import HealthServer
from arks.kit.process import stand_back
from arks.kit.reconcile import Controller
from arks.kit.tasks import cancel
from arks.kit.telemetry import configure_logging
from arks.kit.types import AsyncCallable

log = structlog.get_logger(__name__)


class App:
    def __init__(
        self,
        name: str,
        home: Home,
        *,
        controllers: Sequence[Controller] = (),
        tasks: Sequence[AsyncCallable] = (),
        starts: Sequence[AsyncCallable] = (),
        stops: Sequence[AsyncCallable] = (),
        problems: Sequence[Callable[[], str | None]] = (),
        routes: Sequence[web.RouteDef] = (),
    ) -> None:
        """`tasks` run as long as the service does; `starts` before it is ready; `problems` keep it from being ready;
        `routes` are answered beside the health checks."""
        self.name = name
        self.home = home
        self.ready = asyncio.Event()
        self._controllers = controllers
        self._tasks = tasks
        self._starts = starts
        self._stops = stops
        self._more_problems = problems
        self._phase: str | None = "starting"
        settings = home.settings
        self._health = HealthServer(settings.http_host, settings.http_port, home.registry, self.problems, routes=routes)

    def problems(self) -> list[str]:
        found = [] if self._phase is None else [self._phase]
        found += [] if self.home.bus.connected else ["NATS is away"]
        return found + [text for problem in self._more_problems if (text := problem())]

    def run(self) -> None:
        """Run the service until SIGTERM or SIGINT. Exits with status 1 if a part of it failed."""
        configure_logging(self.name, self.home.settings.log_level)
        try:
            uvloop.run(self._until_signal())
        except BaseExceptionGroup as group:
            log.error("service ended by an error", exc_info=group)
            raise SystemExit(1) from None

    async def _until_signal(self) -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await self.serve(stop)

    async def serve(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set. Raises ExceptionGroup when a part of the service failed."""
        await self._health.start()
        try:
            async with asyncio.TaskGroup() as group:
                work = group.create_task(self._work(), name=f"{self.name} work")
                await stop.wait()
                self._phase = "stopping"
                await self._drain()
                work.cancel()
        finally:
            await self._close()

    async def _work(self) -> None:
        async with asyncio.TaskGroup() as group:
            with self.home.tracer.span("start", detached=True):  # the tasks of it outlive it
                await self._start(group)
            group.create_task(self._control())
            self._phase = None
            self.ready.set()
            log.info("ready")
            if self.home.settings.nice:
                await stand_back(self.home.settings.nice)  # not before: its start holds up others

    async def _start(self, group: asyncio.TaskGroup) -> None:
        self._phase = "waiting for NATS"
        await _until_ended(self.home.start)
        for run in (*self.home.runs(), *self._tasks):
            group.create_task(_run_forever(run))
        for start in self._starts:
            await start()
        self._phase = "reading what exists"
        await self.home.synced()

    async def _control(self) -> None:
        """Run the controllers once this replica leads; the other replicas serve requests and stand by."""
        if not self._controllers:
            return
        await self.home.leading()
        async with asyncio.TaskGroup() as group:
            for controller in self._controllers:
                group.create_task(controller.run(), name=controller.name)

    async def _drain(self) -> None:
        log.info("draining", seconds=self.home.settings.drain_seconds)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.home.settings.drain_seconds):
                for controller in self._controllers:
                    await controller.drain()

    async def _close(self) -> None:
        for stop in reversed(self._stops):
            await stop()
        await self.home.stop()
        await self._health.stop()
        await self.home.tracer.close()
        log.info("stopped")


async def _run_forever(run: AsyncCallable) -> None:
    """Run it until cancelled. Raises RuntimeError if it returns by itself."""
    await _until_ended(run)
    raise RuntimeError(f"{run!r} ended by itself")


async def _until_ended(run: AsyncCallable) -> None:
    """Run it in a task, which ends before this function returns, even if it loses its first cancellation."""
    task = asyncio.ensure_future(run())
    try:
        await asyncio.wait({task})
    finally:
        await cancel(task)
    task.result()
