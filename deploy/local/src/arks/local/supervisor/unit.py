"""Supervise one program: wait for the programs that it needs, start it, watch its health, restart it."""

import asyncio
import logging
import shutil
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from arks.kit.backoff import Backoff
from arks.local.files.logs import LogSearch, last_lines, limit_size
from arks.local.files.state import Service, ServiceState
from arks.local.plan.programs import FULL_DISK_BYTES, Program
from arks.local.supervisor.children import Child, Children
from arks.local.supervisor.probes import find_problem

log = logging.getLogger(__name__)

_LOG_LINES = 5


@dataclass(frozen=True, slots=True)
class Timings:
    start_seconds: float = 60.0
    """A program that is not ready by then is restarted."""
    first_probe_seconds: float = 0.02
    longest_probe_seconds: float = 0.25
    """Longest pause between probes of a starting program; pauses grow from the first to this."""
    watch_seconds: float = 10.0
    """Pause between probes of a ready program. They find hangs; the kernel reports exits at once."""
    failed_watches: int = 4
    """After this many probes in a row without an answer a program is restarted. "Not ready" is an answer."""
    stable_seconds: float = 10.0
    """After being ready for this long, the next failure counts as the first."""
    backoff: Backoff = field(default_factory=lambda: Backoff(first_seconds=0.2, longest_seconds=10.0))
    """Delays before the second restart in a row and later ones; the first has none."""


def restart_delay_seconds(failures: int, backoff: Backoff) -> float:
    """Delay after the n-th failure in a row. `failures`: from 1."""
    return 0.0 if failures == 1 else backoff.delay_seconds(failures - 1)


def after_failed_write(free_bytes: int) -> tuple[str, bool]:
    """The problem of a program that takes no writes since one failed, and whether it may start again: on a full disk
    its first write would fail too.
    """
    if free_bytes < FULL_DISK_BYTES:
        return "takes no writes: its disk is full", False
    return "takes no writes since one failed", True


class Unit:
    """One supervised program. `run` never returns; to end it, cancel the task and call `stop`."""

    def __init__(
        self,
        program: Program,
        children: Children,
        log_file: Path,
        on_change: Callable[[], None],
        timings: Timings | None = None,
    ) -> None:
        self.program = program
        self.ready = asyncio.Event()
        self.status = Service(program.name, ServiceState.WAITING, program.address, since=time.time())
        self._children = children
        self._log_file = log_file
        self._on_change = on_change
        self._timings = timings or Timings()
        self._child: Child | None = None
        self._failed_write: LogSearch | None = None
        """In the log of the present process."""

    async def run(self, needed: Sequence["Unit"]) -> None:
        async with asyncio.TaskGroup() as group:
            if self.program.prepare is not None:
                group.create_task(self._prepare(self.program.prepare))
            for unit in needed:
                group.create_task(_wait(unit.ready.wait()))
        failures = 0
        while True:
            stable = await self._run_once()
            failures = 1 if stable else failures + 1
            self._set(state=ServiceState.RESTARTING, pid=None, restarts=self.status.restarts + 1)
            await asyncio.sleep(restart_delay_seconds(failures, self._timings.backoff))

    async def stop(self) -> None:
        """Send SIGTERM, after `stop_seconds` SIGKILL; return when the process has ended."""
        child = self._child
        if child is not None and not child.ended.done():
            child.send(signal.SIGTERM)
            await asyncio.wait([child.ended], timeout=self.program.stop_seconds)
            child.send(signal.SIGKILL)
            await child.ended
        self._set(state=ServiceState.STOPPED, pid=None)

    async def _prepare(self, command: tuple[str, ...]) -> None:
        """Run the command until it succeeds: the program cannot start without it."""
        failures = 0
        while True:
            child = self._start_child(command)
            status = await child.ended
            if status == 0:
                self._child = None
                return
            failures += 1
            self._set(problem=f"preparation {_exit_reason(status)}", last_lines=last_lines(self._log_file, _LOG_LINES))
            await asyncio.sleep(self._timings.backoff.delay_seconds(failures))

    async def _run_once(self) -> bool:
        """Run the program from start to end. Returns True if it was ready for at least `stable_seconds`."""
        limit_size(self._log_file)
        self._failed_write = LogSearch(self._log_file, text) if (text := self.program.broken_by) else None
        try:
            child = self._start_child(self.program.command)
        except OSError as error:
            self._set(problem=f"cannot start: {error}", last_lines=())
            return False
        self._set(state=ServiceState.STARTING, pid=child.pid)
        failure = await self._until_ready(child)
        ready_at = time.monotonic()
        if failure is None:
            self._set(state=ServiceState.READY, problem="", last_lines=())
            self.ready.set()
            failure = await self._watch(child)
        if not child.ended.done():
            log.warning("killing %s: %s", self.program.name, failure)
            child.send(signal.SIGKILL)
        status = await child.ended
        self.ready.clear()
        reason = failure or _exit_reason(status)
        log.warning("%s has ended: %s", self.program.name, reason)
        self._set(problem=reason, last_lines=last_lines(self._log_file, _LOG_LINES), pid=None)
        return time.monotonic() - ready_at >= self._timings.stable_seconds

    def _start_child(self, command: tuple[str, ...]) -> Child:
        self._child = self._children.start(command, environment=self.program.environment, log_file=self._log_file)
        return self._child

    async def _until_ready(self, child: Child) -> str | None:
        """Wait until it is ready; return None, or the reason why it did not become ready."""
        pause, last_problem = self._timings.first_probe_seconds, "no answer yet"
        deadline = time.monotonic() + self._timings.start_seconds
        while time.monotonic() < deadline:
            await asyncio.wait([child.ended], timeout=pause)
            if child.ended.done():
                return _exit_reason(child.ended.result())
            found = await find_problem(self.program.probe)
            if found is None:
                return None
            if found.text != last_problem:
                last_problem = found.text
                self._set(problem=last_problem)
            pause = min(self._timings.longest_probe_seconds, pause * 1.5)
        return f"not ready within {self._timings.start_seconds:g} s: {last_problem}"

    async def _watch(self, child: Child) -> str | None:
        """Watch a ready program; return None when it has ended, or the reason when it hangs."""
        failed = 0
        while True:
            await asyncio.wait([child.ended], timeout=self._timings.watch_seconds)
            if child.ended.done():
                return None
            if self._is_broken():
                problem, restarts = after_failed_write(shutil.disk_usage(self._log_file.parent).free)
                if restarts:
                    return problem
                self._set(state=ServiceState.UNREADY, problem=problem)
                continue
            found = await find_problem(self.program.probe)
            limit_size(self._log_file)
            failed = failed + 1 if found is not None and found.silent else 0
            if found is not None and failed >= self._timings.failed_watches:
                return f"hangs: {found.text}"
            state, text = (ServiceState.READY, "") if found is None else (ServiceState.UNREADY, found.text)
            if (state, text) != (self.status.state, self.status.problem):
                self._set(state=state, problem=text)

    def _is_broken(self) -> bool:
        return self._failed_write is not None and self._failed_write.found()

    def _set(self, **changes: object) -> None:
        if "state" in changes and changes["state"] != self.status.state:
            changes["since"] = time.time()
            log.info("%s %s", self.program.name, changes["state"])
        self.status = replace(self.status, **changes)  # type: ignore[arg-type]  # names and types as in Service
        self._on_change()


async def _wait(event: Awaitable[object]) -> None:
    await event


def _exit_reason(status: int) -> str:
    if status >= 0:
        return f"ended with status {status}"
    return f"was killed by {signal.Signals(-status).name}"
