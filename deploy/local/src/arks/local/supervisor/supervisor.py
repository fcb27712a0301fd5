"""Start all units in order, write their state to run/state.json, and stop them in order."""

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from arks.kit.proc import descendants
from arks.local.files.logs import limit_size
from arks.local.files.paths import Paths
from arks.local.files.state import Phase, State
from arks.local.files.state_file import write_state
from arks.local.plan.programs import Program
from arks.local.supervisor.children import Children
from arks.local.supervisor.probes import request
from arks.local.supervisor.unit import Timings, Unit

log = logging.getLogger(__name__)

GATEWAY_SECONDS = 1.2
"""Time for requests in flight at the gateway to finish."""
ENGINES_SECONDS = 0.5
"""Time from SIGTERM to SIGKILL, and the wait after SIGKILL."""
_WRITE_PAUSE_SECONDS = 0.03
"""Changes within this time are written together."""
SERVERS = ("nats", "valkey")
"""Stopped last, so that services can publish their last messages."""


class Supervisor:
    """Runs the programs of one Arks until SIGTERM or SIGINT; a second signal kills them at once."""

    def __init__(self, paths: Paths, programs: Sequence[Program], timings: Timings | None = None) -> None:
        self._paths = paths
        self._children = Children(self._on_orphan)
        self._units = {
            program.name: Unit(program, self._children, paths.log(program.name), self._on_change, timings)
            for program in programs
        }
        self._phase = Phase.RUNNING
        self._started = time.time()
        self._ports: Mapping[str, int] = {}
        self._stop = asyncio.Event()
        self._changed = asyncio.Event()

    async def run(self, ports: Mapping[str, int]) -> None:
        """Run until SIGTERM or SIGINT. `ports`: written into the state."""
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
        await self._stop_all()
        await _cancel([writer])
        self._phase = Phase.STOPPED
        self._write()

    # --- events

    def _on_stop_signal(self) -> None:
        if self._phase == Phase.STOPPING:
            log.warning("second signal: killing all processes")
            _kill_descendants()
        self._phase = Phase.STOPPING
        self._stop.set()
        self._on_change()

    def _on_orphan(self, pid: int, status: int) -> None:
        log.info("adopted process %d ended with status %d", pid, status)

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
            write_state(self._paths, now)
        except OSError as error:  # a full disk must not stop running programs
            log.warning("state not written: %s", error)

    # --- stop

    async def _stop_all(self) -> None:
        """Stop in reverse start order: drain the gateway, then stop services, engines, NATS and Valkey."""
        log.info("stopping")
        await self._drain_gateway()
        await self._stop_units(["envoy"])
        await self._stop_units([name for name in self._units if name not in {"envoy", *SERVERS}])
        await self._stop_orphans()
        await self._stop_units([name for name in self._units if name in SERVERS])
        _kill_descendants()
        self._children.reap()
        log.info("stopped")

    async def _stop_units(self, names: Sequence[str]) -> None:
        await asyncio.gather(*(self._units[name].stop() for name in names if name in self._units))

    async def _drain_gateway(self) -> None:
        """Close the listeners and wait for the requests in flight, for at most GATEWAY_SECONDS."""
        unit = self._units.get("envoy")
        if unit is None or not unit.ready.is_set():
            return
        admin = unit.program.probe.address
        with contextlib.suppress(TimeoutError, OSError, ValueError, EOFError):
            async with asyncio.timeout(GATEWAY_SECONDS):
                await request("POST", admin, "/drain_listeners")
                await _until_idle(admin)

    async def _stop_orphans(self) -> None:
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


def _kill_descendants() -> None:
    for pid in descendants(os.getpid()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


async def _until_idle(admin: int | Path) -> None:
    while True:
        if not await _requests_in_flight(admin):
            return
        await asyncio.sleep(0.05)


async def _requests_in_flight(admin: int | Path) -> int:
    """Active requests at all listeners except the admin's."""
    _, body = await request("GET", admin, "/stats?filter=downstream_rq_active&usedonly")
    lines = (line.rpartition(": ") for line in body.splitlines())
    return sum(int(value) for name, _, value in lines if not name.startswith("http.admin.") and value.isdigit())


async def _cancel(tasks: Sequence["asyncio.Task[object]"]) -> None:
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, Exception):
            log.error("a task of the supervisor failed", exc_info=result)
