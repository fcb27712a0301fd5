"""Starting and ending the supervisor from the arks command."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from arks.local.files.logs import last_lines
from arks.local.files.paths import Paths
from arks.local.files.state import State, is_running, read

START_SECONDS = 10.0
STOP_SECONDS = 10.0
"""The supervisor itself takes at most 5; a machine under load gets more."""
_LOOK_SECONDS = 0.02


class DidNotStart(Exception):
    """The supervisor ended before it was up; the message is the end of its log."""


def start(paths: Paths, gateway_port: int) -> "subprocess.Popen[bytes]":
    """A supervisor in a session of its own, which outlives us. Raises OSError."""
    paths.create()
    command = (sys.executable, "-m", "arks.local.programs.supervisor", "--home", str(paths.home))
    with paths.log("supervisor").open("ab") as log:
        return subprocess.Popen(
            [*command, "--gateway-port", str(gateway_port)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env=_environment(),
            start_new_session=True,
        )


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def wait_started(paths: Paths, process: "subprocess.Popen[bytes]") -> State:
    """Its first state. Raises DidNotStart."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        ended = process.poll() is not None
        state = read(paths) if is_running(paths) else None
        if state is not None and (state.pid == process.pid or ended):  # another `arks up` may have been faster
            return state
        if ended and not is_running(paths):
            break
        time.sleep(_LOOK_SECONDS)
    raise DidNotStart(_last_words(paths.log("supervisor")))


def _last_words(log: Path) -> str:
    return "\n".join(last_lines(log, 5)) or f"it said nothing; see {log}"


def stop(paths: Paths, state: State) -> bool:
    """SIGTERM, and wait; SIGKILL when it takes too long, after which the kernel ends all of its children.

    Returns whether it ended in order.
    """
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.kill(state.pid, number)
        except ProcessLookupError:
            return number == signal.SIGTERM
        if _wait_gone(paths):
            return number == signal.SIGTERM
    return False


def _wait_gone(paths: Paths) -> bool:
    deadline = time.monotonic() + STOP_SECONDS
    while time.monotonic() < deadline:
        if not is_running(paths):
            return True
        time.sleep(_LOOK_SECONDS)
    return False
