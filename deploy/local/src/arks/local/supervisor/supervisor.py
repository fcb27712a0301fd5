"""All units together: start in order, tell what happens in run/state.json, end in order."""

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import Mapping, Sequence

from arks.local.files import state
from arks.local.files.logs import limit_size
from arks.local.files.paths import Paths
from arks.local.files.state import Phase, State
from arks.local.plan.programs import Program
from arks.local.supervisor.children import Children, descendants
from arks.local.supervisor.probes import request
from arks.local.supervisor.unit import Timing, Unit

log = logging.getLogger(__name__)

GATEWAY_SECONDS = 1.2
"""What requests under way get to end at the gateway."""
ENGINES_SECONDS = 0.5
"""From SIGTERM to SIGKILL, and as long again for what is killed."""
_WRITE_PAUSE_SECONDS = 0.03
"""Changes within it become one write of the state."""
SERVERS = ("nats", "valkey")
"""Ended last: services hand over their last messages to them."""


class Supervisor:
    def __init__(self, paths: Paths, programs: Sequence[Program], timing: Timing | None = None) -> None:
        self._paths = paths
        self._children = Children(self._on_orphan)
        self._units = {
            program.name: Unit(program, self._children, paths.log(program.name), self._on_change, timing)
            for program in programs
        }
        self._phase = Phase.RUNNING
        self._started = time.time()
        self._ports: Mapping[str, int] = {}
        self._stop = asyncio.Event()
        self._changed = asyncio.Event()

    async def run(self, ports: Mapping[str, int]) -> None:
        """Until SIGTERM. `ports` is what the state tells about."""
        self._ports = ports
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGCHLD, self._children.reap)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_stop_signal)
        writer = loop.create_task(self._write_changes())
        runs = [
            loop.create_task(unit.run([self._units[name] for name in unit.program.after]))
            for unit in self._units.values()
        ]
        self._on_change()
        stopped = loop.create_task(self._stop.wait())
        await asyncio.wait([stopped, writer, *runs], return_when=asyncio.FIRST_COMPLETED)
        await _cancel([stopped, *runs])
        await self._end_all()
        await _cancel([writer])
        self._phase = Phase.STOPPED
        self._write()

    # --- what happened

    def _on_stop_signal(self) -> None:
        if self._phase == Phase.STOPPING:
            log.warning("second signal: everything is killed")
            for pid in descendants(os.getpid()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self._phase = Phase.STOPPING
        self._stop.set()
        self._on_change()

    def _on_orphan(self, pid: int, status: int) -> None:
        log.info("orphan %d ended with %d", pid, status)

    def _on_change(self) -> None:
        self._changed.set()

    async def _write_changes(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            self._write()
            limit_size(self._paths.log("supervisor"))
            await asyncio.sleep(_WRITE_PAUSE_SECONDS)

    def _write(self) -> None:
        services = tuple(unit.status for unit in self._units.values())
        now = State(os.getpid(), self._phase, self._started, self._ports, services)
        try:
            state.write(self._paths.state, state.to_json(now))
        except OSError as error:  # a full disk must not end what runs
            log.warning("state not written: %s", error)

    # --- the end

    async def _end_all(self) -> None:
        """In reverse order of the start: the gateway drains, services end, then engines, then the servers below."""
        log.info("stopping")
        await self._drain_gateway()
        await self._stop_units(["envoy"])
        await self._stop_units([name for name in self._units if name not in {"envoy", *SERVERS}])
        await self._end_orphans()
        await self._stop_units([name for name in self._units if name in SERVERS])
        for pid in descendants(os.getpid()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._children.reap()
        log.info("stopped")

    async def _stop_units(self, names: Sequence[str]) -> None:
        await asyncio.gather(*(self._units[name].stop() for name in names if name in self._units))

    async def _drain_gateway(self) -> None:
        """No new connections; requests under way may end."""
        unit = self._units.get("envoy")
        if unit is None or not unit.ready.is_set():
            return
        port = unit.program.probe.port
        with contextlib.suppress(TimeoutError, OSError, ValueError, EOFError):
            async with asyncio.timeout(GATEWAY_SECONDS):
                await request("POST", port, "/drain_listeners")
                await _until_idle(port)

    async def _end_orphans(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in self._children.orphans():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ENGINES_SECONDS):
                    await self._until_no_orphans()

    async def _until_no_orphans(self) -> None:
        while True:
            if not self._children.orphans():
                return
            await asyncio.sleep(0.02)


async def _until_idle(admin_port: int) -> None:
    while True:
        if not await _requests_under_way(admin_port):
            return
        await asyncio.sleep(0.05)


async def _requests_under_way(admin_port: int) -> int:
    """Active requests of all listeners but the admin's own."""
    _, body = await request("GET", admin_port, "/stats?filter=downstream_rq_active&usedonly")
    lines = (line.rpartition(": ") for line in body.splitlines())
    return sum(int(value) for name, _, value in lines if not name.startswith("http.admin.") and value.isdigit())


async def _cancel(tasks: Sequence["asyncio.Task[object]"]) -> None:
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, Exception):
            log.error("a part of the supervisor failed", exc_info=result)
