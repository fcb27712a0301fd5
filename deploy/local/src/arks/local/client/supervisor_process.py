"""Start and stop the supervisor's process."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from arks.local.files.logs import last_lines
from arks.local.files.paths import Paths
from arks.local.files.state import State
from arks.local.files.state_file import is_running, read_state

START_SECONDS = 10.0
STOP_SECONDS = 10.0
"""The supervisor takes at most 5 s; a busy machine may need longer."""
_POLL_SECONDS = 0.02


class DidNotStart(Exception):
    """The supervisor ended during its start; the message is the end of its log."""


def start(paths: Paths, gateway_port: int) -> "subprocess.Popen[bytes]":
    """Start a supervisor in its own session, so that it outlives the command. Raises OSError."""
    paths.create()
    program = (sys.executable, "-m", "arks.local.programs.supervisor", "--home", str(paths.home))
    with paths.log("supervisor").open("ab") as log:
        return subprocess.Popen(
            # A user's PYTHONPATH must not replace modules of the services.
            ["env", "-u", "PYTHONPATH", *program, "--gateway-port", str(gateway_port)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            start_new_session=True,
        )


def wait_started(paths: Paths, process: "subprocess.Popen[bytes]") -> State:
    """Wait for the supervisor's first state. Raises DidNotStart."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        ended = process.poll() is not None
        state = read_state(paths) if is_running(paths) else None
        if state is not None and (state.pid == process.pid or ended):  # it ended: another `arks up` was faster
            return state
        if ended and not is_running(paths):
            break
        time.sleep(_POLL_SECONDS)
    raise DidNotStart(_end_of(paths.log("supervisor")))


def _end_of(log: Path) -> str:
    return "\n".join(last_lines(log, 5)) or f"its log {log} is empty"


def stop(paths: Paths, state: State) -> bool:
    """Send SIGTERM and wait; after STOP_SECONDS send SIGKILL, after which the kernel ends all of its children.

    Returns False if it had to be killed.
    """
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.kill(state.pid, number)
        except ProcessLookupError:
            return number == signal.SIGTERM
        if _wait_stopped(paths):
            return number == signal.SIGTERM
    return False


def _wait_stopped(paths: Paths) -> bool:
    deadline = time.monotonic() + STOP_SECONDS
    while time.monotonic() < deadline:
        if not is_running(paths):
            return True
        time.sleep(_POLL_SECONDS)
    return False
