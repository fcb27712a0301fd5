"""One program's life under supervision: wait for what it needs, start, become ready, watch, restart."""

import asyncio
import logging
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from arks.local.files.logs import last_lines, limit_size
from arks.local.files.state import Service, ServiceState
from arks.local.plan.programs import Program
from arks.local.supervisor.children import Child, Children
from arks.local.supervisor.probes import problem

log = logging.getLogger(__name__)

_LINES_KEPT = 5


@dataclass(frozen=True, slots=True)
class Timing:
    start_seconds: float = 60.0
    """A program that is not ready by then is started again."""
    first_probe_seconds: float = 0.02
    longest_probe_seconds: float = 0.25
    """While it starts. The pause between probes grows from the first to this."""
    watch_seconds: float = 10.0
    """Between probes of a ready program: they find what hangs; what ends is known at once, without them."""
    failed_watches: int = 4
    """So many probes in a row without an answer: it hangs and is started again. Who says "not ready" does not hang."""
    stable_seconds: float = 10.0
    """Ready for so long: its next failure counts as the first."""
    first_delay_seconds: float = 0.2
    longest_delay_seconds: float = 10.0


def restart_delay_seconds(failures: int, timing: Timing) -> float:
    """Before the start that follows the n-th failure in a row: none, then first * 2^(n-2), at most the longest."""
    if failures <= 1:
        return 0.0
    return min(timing.longest_delay_seconds, timing.first_delay_seconds * 2.0 ** min(failures - 2, 20))


class Unit:
    """`run` never returns by itself; cancel it, then `stop`."""

    def __init__(
        self,
        program: Program,
        children: Children,
        log_file: Path,
        on_change: Callable[[], None],
        timing: Timing | None = None,
    ) -> None:
        self.program = program
        self.ready = asyncio.Event()
        self.status = Service(program.name, ServiceState.WAITING, program.address, since=time.time())
        self._children = children
        self._log_file = log_file
        self._on_change = on_change
        self._timing = timing or Timing()
        self._child: Child | None = None

    async def run(self, needed: Sequence["Unit"]) -> None:
        async with asyncio.TaskGroup() as group:
            if self.program.prepare is not None:
                group.create_task(self._prepare(self.program.prepare))
            for unit in needed:
                group.create_task(_wait(unit.ready.wait()))
        failures = 0
        while True:
            stable = await self._live()
            failures = 1 if stable else failures + 1
            delay = restart_delay_seconds(failures, self._timing)
            self._set(state=ServiceState.RESTARTING, pid=None, restarts=self.status.restarts + 1)
            await asyncio.sleep(delay)

    async def stop(self) -> None:
        """SIGTERM, then SIGKILL after its grace period. Returns when it is gone."""
        child = self._child
        if child is not None and not child.ended.done():
            child.send(signal.SIGTERM)
            await asyncio.wait([child.ended], timeout=self.program.stop_seconds)
            child.send(signal.SIGKILL)
            await child.ended
        self._set(state=ServiceState.STOPPED, pid=None)

    def kill(self) -> None:
        if self._child is not None:
            self._child.send(signal.SIGKILL)

    async def _prepare(self, command: tuple[str, ...]) -> None:
        """Until it works: without it the program cannot start."""
        failures = 0
        while True:
            child = self._start_child(command)
            status = await child.ended
            if status == 0:
                self._child = None
                return
            failures += 1
            self._set(problem=f"preparation {_ending(status)}", last_lines=last_lines(self._log_file, _LINES_KEPT))
            await asyncio.sleep(restart_delay_seconds(failures + 1, self._timing))

    async def _live(self) -> bool:
        """From start to end. True when it had been ready long enough to be called stable."""
        limit_size(self._log_file)
        try:
            child = self._start_child(self.program.command)
        except OSError as error:
            self._set(problem=f"cannot be started: {error}", last_lines=())
            return False
        self._set(state=ServiceState.STARTING, pid=child.pid)
        problem_found = await self._until_ready(child)
        ready_at = time.monotonic()
        if problem_found is None:
            self._set(state=ServiceState.READY, problem="", last_lines=())
            self.ready.set()
            problem_found = await self._watch(child)
        if not child.ended.done():
            log.warning("%s is ended: %s", self.program.name, problem_found)
            child.send(signal.SIGKILL)
        status = await child.ended
        self.ready.clear()
        reason = problem_found or _ending(status)
        log.warning("%s is gone: %s", self.program.name, reason)
        self._set(problem=reason, last_lines=last_lines(self._log_file, _LINES_KEPT), pid=None)
        return time.monotonic() - ready_at >= self._timing.stable_seconds

    def _start_child(self, command: tuple[str, ...]) -> Child:
        self._child = self._children.start(command, environment=self.program.environment, log_file=self._log_file)
        return self._child

    async def _until_ready(self, child: Child) -> str | None:
        """None once it is ready, else why it never was."""
        pause, found = self._timing.first_probe_seconds, "no answer yet"
        deadline = time.monotonic() + self._timing.start_seconds
        while time.monotonic() < deadline:
            await asyncio.wait([child.ended], timeout=pause)
            if child.ended.done():
                return _ending(child.ended.result())
            answer = await problem(self.program.probe)
            if answer is None:
                return None
            if answer.text != found:
                found = answer.text
                self._set(problem=found)
            pause = min(self._timing.longest_probe_seconds, pause * 1.5)
        return f"not ready within {self._timing.start_seconds:g} s: {found}"

    async def _watch(self, child: Child) -> str | None:
        """Returns when it has ended (None) or hangs (what is wrong)."""
        failed = 0
        while True:
            await asyncio.wait([child.ended], timeout=self._timing.watch_seconds)
            if child.ended.done():
                return None
            found = await problem(self.program.probe)
            limit_size(self._log_file)
            failed = failed + 1 if found is not None and found.silent else 0
            if found is not None and failed >= self._timing.failed_watches:
                return f"hangs: {found.text}"
            state, text = (ServiceState.READY, "") if found is None else (ServiceState.UNREADY, found.text)
            if (state, text) != (self.status.state, self.status.problem):
                self._set(state=state, problem=text)

    def _set(self, **changes: object) -> None:
        if "state" in changes and changes["state"] != self.status.state:
            changes["since"] = time.time()
            log.info("%s %s", self.program.name, changes["state"])
        self.status = replace(self.status, **changes)  # type: ignore[arg-type]  # names and types as in Service
        self._on_change()


async def _wait(event: Awaitable[object]) -> None:
    await event


def _ending(status: int) -> str:
    if status >= 0:
        return f"ended with status {status}"
    return f"was ended by {signal.Signals(-status).name}"
