"""Runs one engine: a small process that lets the engine survive the end of app-deployer.

Run as `python -I -S shim.py DIRECTORY` by app-deployer. It forks and its parent ends at once, so that it belongs to the
nearest subreaper (the supervisor). Then it starts the engine that DIRECTORY/launch.json describes, with the environment
that it has itself, writes DIRECTORY/state.json at the start and at the end, appends the engine's output to
DIRECTORY/engine.log (bounded; what was before is engine.log.1), and ends with the engine. The engine ends with it, and
it ends with its owner.

Standard library only, and few modules: every replica has one.
"""
# ruff: noqa: PTH105, PTH118, PTH123  # pathlib would cost every replica 2 MB

import contextlib
import ctypes
import json
import os
import select
import signal
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing would cost a megabyte too
    from typing import Any

_PR_SET_PDEATHSIG = 1
_BLOCK_BYTES = 65536
_ORPHANED_SECONDS = 5.0


class Log:
    """engine.log: past the limit it becomes engine.log.1 and starts anew. A full disk costs lines, never the engine."""

    def __init__(self, directory: str, limit_bytes: int) -> None:
        self._path = os.path.join(directory, "engine.log")
        self._limit = limit_bytes
        self._file = -1
        self._size = 0
        self._renew()

    def write(self, block: bytes) -> None:
        """A block larger than the whole log is written in parts, so that none of the two files passes the limit."""
        try:
            for start in range(0, len(block), self._limit):
                part = block[start : start + self._limit]
                if self._size + len(part) > self._limit:
                    self._renew()
                self._size += os.write(self._file, part)
        except OSError:
            return

    def _renew(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.replace(self._path, self._path + ".1")
        if self._file >= 0:
            os.close(self._file)
        self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._size = 0


def start_ticks(pid: int) -> int:
    """When a process started; with its pid it names the process for good. Raises OSError."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        return int(file.read().rpartition(b")")[2].split()[19])


def main(directory: str) -> int:
    with open(os.path.join(directory, "launch.json"), encoding="utf-8") as file:
        launch = json.load(file)
    starter = os.getpid()
    if os.fork():
        return 0
    os.setsid()
    _until_orphaned(starter)
    owner = _open_owner(launch)
    if owner is None:
        return 1
    return _Shim(directory, launch, owner).run()


def _until_orphaned(starter: int) -> None:
    """Wait until the parent has ended after the fork: the death signal must name the new parent."""
    end = time.monotonic() + _ORPHANED_SECONDS
    while os.getppid() == starter and time.monotonic() < end:
        time.sleep(0.001)


def _open_owner(launch: "dict[str, Any]") -> int | None:
    """A handle on the process with which we end; None when it has ended already."""
    pid = launch["owner_pid"]
    try:
        owner = os.pidfd_open(pid)
        same = start_ticks(pid) == launch["owner_start_ticks"]
    except OSError:
        return None
    if not same:
        return None
    if os.getppid() == pid:
        _die_with_parent(pid)
    return owner


def _die_with_parent(parent: int) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


class _Shim:
    def __init__(self, directory: str, launch: "dict[str, Any]", owner: int) -> None:
        self._directory = directory
        self._launch = launch
        self._owner = owner
        self._log = Log(directory, launch["log_bytes"])
        self._engine = 0
        self._kill_at: float | None = None
        self._stop_requested = False
        self._state: dict[str, Any] = {"shim_pid": os.getpid(), "shim_start_ticks": start_ticks(os.getpid())}

    def run(self) -> int:
        woken = _wake_on(signal.SIGTERM, signal.SIGINT)
        output = self._start()
        if output < 0:
            return 127
        handle = os.pidfd_open(self._engine)
        poll = select.poll()
        for fd in (woken, output, handle, self._owner):
            poll.register(fd, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll(self._poll_timeout_milliseconds())}
            if output in ready and not self._copy(output):
                poll.unregister(output)
            if self._owner in ready:
                self._kill()
            elif woken in ready:
                os.read(woken, 64)
                self._terminate()
            if self._kill_at is not None and time.monotonic() >= self._kill_at:
                self._kill()
            if handle in ready:
                return self._finish(output)

    def _start(self) -> int:
        """Start the engine; returns the end of the pipe that its output comes from, or -1."""
        reading, writing = os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            self._become_engine(writing)
        os.close(writing)
        self._engine = pid
        self._write_state(status="running", pid=pid, start_ticks=start_ticks(pid), started_at=time.time())
        return reading

    def _become_engine(self, output: int) -> None:
        """In the child: never returns."""
        command = self._launch["command"]
        try:
            os.setpgid(0, 0)
            _die_with_parent(self._state["shim_pid"])
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            signal.set_wakeup_fd(-1)
            nothing = os.open(os.devnull, os.O_RDONLY)
            for fd, target_fd in ((nothing, 0), (output, 1), (output, 2)):
                os.dup2(fd, target_fd)
            os.chdir(self._directory)
            os.execvp(command[0], command)  # noqa: S606  # a list, and no shell is wanted
        except OSError as error:
            os.write(2, f"cannot start {command[0]}: {error}\n".encode())
        finally:
            os._exit(127)

    def _copy(self, output: int) -> bool:
        """False at the end of the output."""
        block = os.read(output, _BLOCK_BYTES)
        self._log.write(block)
        return bool(block)

    def _terminate(self) -> None:
        if not self._stop_requested:
            self._stop_requested = True
            self._kill_at = time.monotonic() + self._launch["kill_seconds"]
            self._signal(signal.SIGTERM)

    def _kill(self) -> None:
        self._kill_at = None
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        """To the engine and whatever it has started."""
        for send, target in ((os.killpg, self._engine), (os.kill, self._engine)):
            try:
                send(target, number)
            except ProcessLookupError:  # of the group: the engine has not made it yet
                continue

    def _poll_timeout_milliseconds(self) -> int | None:
        return None if self._kill_at is None else max(0, int((self._kill_at - time.monotonic()) * 1000) + 1)

    def _finish(self, output: int) -> int:
        """The engine has ended: take what it has written, note how, leave none of its children."""
        os.set_blocking(output, False)
        with contextlib.suppress(BlockingIOError):  # a child of the engine still holds the other end
            while self._copy(output):
                pass
        _, status = os.waitpid(self._engine, 0)
        code = os.waitstatus_to_exitcode(status)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._engine, signal.SIGKILL)
        self._write_state(status="ended", exit_code=code, ended_at=time.time(), asked=self._stop_requested)
        return 0

    def _write_state(self, **changes: object) -> None:
        """Whole or not at all: a reader never sees half of it. Without room on the disk the old one stays."""
        self._state.update(changes)
        path = os.path.join(self._directory, "state.json")
        try:
            with open(path + ".new", "w", encoding="utf-8") as file:
                json.dump(self._state, file)
            os.replace(path + ".new", path)
        except OSError as error:
            self._log.write(f"arks: state not written: {error}\n".encode())


def _wake_on(*numbers: int) -> int:
    """A file descriptor that becomes readable with any of the signals."""
    reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(writing)
    for number in numbers:
        signal.signal(number, lambda *_: None)
    return reading


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
