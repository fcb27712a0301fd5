"""Starts child processes that the kernel kills when their parent dies (PR_SET_PDEATHSIG), however it died; and gives a
process its right to the processor.
"""

import asyncio
import contextlib
import ctypes
import gc
import os
import signal
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}
"""Numbers of the system call, which the C library has no function for."""
_COLLECT_AFTER = (50_000, 20, 20)
"""More objects that may hold others than before, and how many collections of younger ones are between two of older."""
_MOST_NICE = 19
_LONG_TURN_NANOSECONDS = 20_000_000
_SESSION_TRIES, _SESSION_TRY_SECONDS = 10, 0.1
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


def freeze_what_is_loaded() -> None:
    """Leave all that is loaded out of later garbage collections, each full one of which visits it otherwise."""
    gc.collect()
    gc.freeze()


def collect_rarely() -> None:
    """Let garbage collections visit only what is made from now on, and only once that is much.

    For a program that has loaded what it keeps, and then makes thousands of objects at a time that no cycle holds: by
    default each 700 of them begin a collection, which takes a third of the time that such a batch needs.
    """
    freeze_what_is_loaded()
    gc.set_threshold(*_COLLECT_AFTER)


async def stand_back(nice: int) -> None:
    """Leave the processor to processes of less `nice` (as nice(1) adds it), as long as they want it.

    The threads also get long turns (sched_setattr(2), Linux 6.12 and newer). The scheduler runs first what has to end
    its turn first, so a thread that wakes up interrupts a long turn at once. The share of the processor stays that of
    `nice`.

    Linux may divide the processor among sessions first (sched_autogroup_enabled, sched(7)). Then only the session's own
    number counts beyond it; a session that another process leads is left as it is. Where that division does not exist,
    neither does the file, or what it holds has no effect. If the kernel rejects a change, nothing is lost but that.
    """
    with contextlib.suppress(OSError):
        for thread in [int(task.name) for task in Path("/proc/self/task").iterdir()]:
            number = min(_MOST_NICE, os.getpriority(os.PRIO_PROCESS, thread) + nice)
            os.setpriority(os.PRIO_PROCESS, thread, number)
            _set_turn(thread, number, _LONG_TURN_NANOSECONDS)
    if os.getsid(0) == os.getpid():
        await _set_session_nice(nice)


def _set_turn(thread: int, nice: int, nanoseconds: int) -> None:
    """Does nothing on other kernels and processors than those that are known to take it."""
    number = _SCHED_SETATTR.get(os.uname().machine)
    if number is not None:
        # struct sched_attr: size, policy, flags, nice, priority, runtime, deadline, period
        attributes = struct.pack("=IIQiIQQQ", 48, os.SCHED_OTHER, 0, nice, 0, nanoseconds, 0, 0)
        _libc.syscall(number, thread, attributes, 0)


async def _set_session_nice(nice: int) -> None:
    """The kernel takes one such change in 0.1 s, of all users but root together."""
    for _ in range(_SESSION_TRIES):
        try:
            Path("/proc/self/autogroup").write_text(str(nice))
        except BlockingIOError:
            await asyncio.sleep(_SESSION_TRY_SECONDS)
        except OSError:
            return
        else:
            return


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
