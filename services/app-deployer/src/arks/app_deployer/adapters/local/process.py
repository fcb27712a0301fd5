"""An engine's process, seen from app-deployer: started through a shim, or found running and adopted.

Handles (pidfd) name a process for good: a signal can never hit another one that got the same number later.
"""

import asyncio
import contextlib
import os
import select
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from arks.app_deployer.adapters.local.files import Directory, Launch, ShimState
from arks.kit.errors import Unavailable

_SHIM = Path(__file__).parents[2] / "programs/shim.py"
"""Started as a file: `python -I -S` has no packages of ours to import a module from."""
_START_SECONDS = 10.0
_ADOPT_SECONDS = 1.0
_RECORD_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Ending:
    exit_code: int | None
    """Negative: the signal; None: the shim was killed too, so the status is unknown."""

    def __str__(self) -> str:
        if self.exit_code is None:
            return "it was killed together with its shim"
        if self.exit_code >= 0:
            return f"it ended with status {self.exit_code}"
        name = signal.Signals(-self.exit_code).name
        aside = " (if you did not send it, memory ran out)" if name == "SIGKILL" else ""
        return f"it was ended by {name}{aside}"


class Engine:
    """A running engine. `ended` is set the moment it ends, however it does."""

    def __init__(self, directory: Directory, state: ShimState, handle: int | None, shim_handle: int | None) -> None:
        """`handle`: None when it has ended already."""
        self.pid = state.pid
        self.start_ticks = state.start_ticks
        self.started_at = state.started_at
        self.ended = asyncio.Event()
        self._directory = directory
        self._handle = handle
        self._shim_handle = shim_handle
        if handle is None:
            self.ended.set()
        else:
            asyncio.get_running_loop().add_reader(handle, self._on_end)

    @classmethod
    async def start(cls, directory: Directory, launch: Launch, environment: Mapping[str, str]) -> Self:
        """Start shim and engine; an engine that cannot start counts as ended.

        Raises Unavailable if the shim cannot start.
        """
        try:
            directory.create()
            directory.write_launch(launch)
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", str(_SHIM), str(directory.path)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                env=dict(environment),
            )
            await process.wait()
        except OSError as error:
            raise Unavailable(f"the engine's directory {directory.path}: {error}") from error
        state = await _wait_for_state(directory, within_seconds=_START_SECONDS)
        if state is None:
            raise Unavailable(f"the shim in {directory.path} did not start its engine; is the disk full?")
        return cls._of(directory, state)

    @classmethod
    async def adopt(cls, directory: Directory) -> Self | None:
        """Adopt the running engine of this directory; None if there is none."""
        state = await _wait_for_state(directory, within_seconds=_ADOPT_SECONDS)
        if state is None:
            return None
        engine = cls._of(directory, state)
        if not engine.ended.is_set():
            return engine
        engine.close()
        return None

    @classmethod
    def _of(cls, directory: Directory, state: ShimState) -> Self:
        handle = _open(state.pid, state.start_ticks)
        return cls(directory, state, handle, _open(state.shim_pid, state.shim_start_ticks))

    def terminate(self) -> None:
        """SIGTERM; the shim sends SIGKILL after its grace time."""
        _send(self._handle if self._shim_handle is None else self._shim_handle, signal.SIGTERM)

    def kill(self) -> None:
        _send(self._handle, signal.SIGKILL)

    async def ending(self) -> Ending:
        """Wait for the end and for the shim's record of it."""
        await self.ended.wait()
        await _until(lambda: self._end_recorded or _is_over(self._shim_handle), _RECORD_SECONDS)
        state = self._directory.state
        return Ending(state.exit_code if state is not None and self._end_recorded else None)

    def close(self) -> None:
        """Release the handles; a running engine continues. Must be called once."""
        self._forget()
        for handle in (self._handle, self._shim_handle):
            if handle is not None:
                os.close(handle)

    @property
    def _end_recorded(self) -> bool:
        state = self._directory.state
        return state is not None and state.status == "ended" and state.pid == self.pid

    def _on_end(self) -> None:
        self._forget()
        self.ended.set()

    def _forget(self) -> None:
        if self._handle is not None:
            asyncio.get_running_loop().remove_reader(self._handle)


def start_ticks_of(pid: int) -> int:
    """When a process started; with its pid it names the process for good. Raises OSError."""
    return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19])


def _open(pid: int, start_ticks: int) -> int | None:
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return None
    with contextlib.suppress(OSError, ValueError):
        if start_ticks_of(pid) == start_ticks and not _is_over(handle):
            return handle
    os.close(handle)
    return None


def _is_over(handle: int | None) -> bool:
    if handle is None:
        return True
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(0))


async def _wait_for_state(directory: Directory, *, within_seconds: float) -> ShimState | None:
    """The shim writes its state some milliseconds after it has become independent."""
    await _until(lambda: directory.state is not None, within_seconds)
    return directory.state


async def _until(condition: Callable[[], bool], within_seconds: float) -> None:
    """Poll: the shim writes its files within milliseconds, so watching the directory is not worth it."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within_seconds):
            while True:
                if condition():
                    return
                await asyncio.sleep(0.002)


def _send(handle: int | None, number: signal.Signals) -> None:
    if handle is None:
        return
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(handle, number)
