"""Start and reap child processes. The supervisor is a subreaper: orphans of its children become its children too."""

import asyncio
import logging
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from arks.kit.proc import children_of
from arks.kit.process import die_with_parent

log = logging.getLogger(__name__)


class Child:
    """A started process. `ended` resolves to its exit status: negative for the signal that ended it."""

    def __init__(self, process: "subprocess.Popen[bytes]", ended: "asyncio.Future[int]") -> None:
        self._process = process
        self.pid = process.pid
        self.ended = ended

    def send(self, number: signal.Signals) -> None:
        if not self.ended.done():  # until it is reaped, the kernel does not reuse its pid
            os.kill(self.pid, number)

    def finish(self, status: int) -> None:
        self._process.returncode = status
        if not self.ended.done():
            self.ended.set_result(status)


class Children:
    """All children. `reap` must run at every SIGCHLD; there is no polling, so that an idle Arks uses no CPU."""

    def __init__(self, on_orphan: Callable[[int, int], None] | None = None) -> None:
        self._children: dict[int, Child] = {}
        self._on_orphan = on_orphan or (lambda pid, status: None)

    def start(self, command: Sequence[str], *, environment: Mapping[str, str], log_file: Path) -> Child:
        """Start a child that the kernel kills when the supervisor ends. Raises OSError if it cannot be started.

        Only the main thread may start children: the kernel binds them to the thread that did.
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
        """Collect the exit status of every process that has ended."""
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
        """Process ids of adopted children, whose own parent has ended, for instance engines."""
        return [pid for pid in children_of(os.getpid()) if pid not in self._children]
