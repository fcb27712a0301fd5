"""Starts child processes that the kernel kills when their parent dies (PR_SET_PDEATHSIG), however it died."""

import asyncio
import contextlib
import ctypes
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(parent: int, number: int = signal.SIGKILL) -> Callable[[], None]:
    """Return a `preexec_fn`: the kernel sends `number` to the child when the thread that started it ends."""

    def in_child() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:  # the parent died before prctl
            os.kill(os.getpid(), signal.SIGKILL)

    return in_child


def become_subreaper() -> None:
    """Make orphaned descendants children of this process instead of process 1."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)


async def spawn(
    command: Sequence[str],
    *,
    log_file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
    end_signal: int = signal.SIGKILL,
) -> asyncio.subprocess.Process:
    """Start a child that dies with this process; append stdout and stderr to `log_file` (None: it writes where this
    process does). Raises OSError.

    Call it from the main thread only: the kernel watches the thread that started the child.
    """
    with log_file.open("ab") if log_file else contextlib.nullcontext() as output:
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=None if environment is None else dict(environment),
            cwd=directory,
            preexec_fn=die_with_parent(os.getpid(), end_signal),  # only async-signal-safe calls, main thread
        )


async def end(process: asyncio.subprocess.Process, *, grace_seconds: float) -> int:
    """Send SIGTERM, then SIGKILL after the grace period. Returns the exit status (negative: the signal)."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(grace_seconds):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
    return await process.wait()
