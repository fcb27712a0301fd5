"""run/state.json: written by the supervisor, read by the command."""

import fcntl
import json
from dataclasses import asdict, fields
from typing import Any

from arks.kit.files import write_atomically
from arks.local.files.paths import Paths
from arks.local.files.state import Phase, Service, ServiceState, State


def write_state(paths: Paths, state: State) -> None:
    """Raises OSError."""
    write_atomically(paths.state, json.dumps(asdict(state), indent=2) + "\n", mode=0o600)


def read_state(paths: Paths) -> State | None:
    """The last written state; None if there is none or this version cannot parse it."""
    try:
        return _parse(paths.state.read_text())
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _parse(text: str) -> State:
    """Parse a state. Raises ValueError, KeyError or TypeError for other text."""
    data: dict[str, Any] = json.loads(text)
    services = tuple(
        Service(
            **{
                **_known(Service, found),
                "state": ServiceState(found["state"]),
                "last_lines": tuple(found["last_lines"]),
            }
        )
        for found in data.pop("services")
    )
    return State(**{**_known(State, data), "phase": Phase(data["phase"]), "services": services})


def _known(kind: type[State | Service], data: dict[str, Any]) -> dict[str, Any]:
    """Without the fields of a later version: a command of an earlier one still has to stop it."""
    return {each.name: data[each.name] for each in fields(kind) if each.name in data}


def is_running(paths: Paths) -> bool:
    """Whether a supervisor runs. It holds the lock until it ends, so a stale file cannot give a wrong answer."""
    try:
        with paths.lock.open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except BlockingIOError:
        return True
    return False


def state_if_running(paths: Paths) -> State | None:
    """The state of the running supervisor; None if none runs."""
    return read_state(paths) if is_running(paths) else None
