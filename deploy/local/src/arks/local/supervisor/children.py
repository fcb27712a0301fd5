"""Starting and reaping. Every child, and every orphan of a child, ends up here: the supervisor is their subreaper."""

import asyncio
import logging
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from arks.kit.process import die_with_parent

log = logging.getLogger(__name__)


class Child:
    """A process that we started. `ended` holds its exit status: negative for the signal that ended it."""

    def __init__(self, process: "subprocess.Popen[bytes]", ended: "asyncio.Future[int]") -> None:
        self._process = process
        self.pid = process.pid
        self.ended = ended

    def send(self, number: signal.Signals) -> None:
        if not self.ended.done():  # until we reap it, its pid belongs to nobody else
            os.kill(self.pid, number)

    def finish(self, status: int) -> None:
        self._process.returncode = status
        if not self.ended.done():
            self.ended.set_result(status)


class Children:
    """`reap` runs at every SIGCHLD: nothing polls, so that an idle Arks costs nothing."""

    def __init__(self, on_orphan: Callable[[int, int], None] | None = None) -> None:
        self._children: dict[int, Child] = {}
        self._on_orphan = on_orphan or (lambda pid, status: None)

    def start(self, command: Sequence[str], *, environment: Mapping[str, str], log_file: Path) -> Child:
        """A child that the kernel ends with us. Raises OSError when the program cannot be started.

        Only the main thread may start children: the kernel watches the thread that did.
        """
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("children must be started by the main thread")
        with log_file.open("ab") as output:
            process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=dict(environment),
                start_new_session=True,
                preexec_fn=die_with_parent(os.getpid()),  # noqa: PLW1509  # system calls only, from the main thread
            )
        child = Child(process, asyncio.get_running_loop().create_future())
        self._children[child.pid] = child
        return child

    def reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            code = os.waitstatus_to_exitcode(status)
            child = self._children.pop(pid, None)
            if child is None:
                self._on_orphan(pid, code)
            else:
                child.finish(code)

    def orphans(self) -> list[int]:
        """Processes that became our children because their parent ended: engines, for instance."""
        return [pid for pid in _children_of(os.getpid()) if pid not in self._children]


def _children_of(parent: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text()
        except OSError:  # ended meanwhile
            continue
        state, its_parent = stat.rpartition(")")[2].split()[:2]
        if int(its_parent) == parent and state != "Z":
            found.append(int(entry.name))
    return found


def descendants(root: int) -> list[int]:
    """All processes below `root`, nearest first."""
    found: list[int] = []
    level = [root]
    while level:
        level = [pid for parent in level for pid in _children_of(parent)]
        found += level
    return found
