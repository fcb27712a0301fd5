"""Readers of /proc: processes, their parents, and the ports on which they listen.

A process may end while it is read, and those of other users are partly hidden: both are left out of the results.
"""

import contextlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
_LISTEN = "0A"
_ZOMBIE = "Z"


@dataclass(frozen=True, slots=True)
class Process:
    pid: int
    parent: int
    state: str
    """One letter, as in proc(5)."""


def processes(proc: Path = PROC) -> Iterator[Process]:
    """All processes of this machine."""
    for entry in proc.iterdir():
        if not entry.name.isdecimal():
            continue
        with contextlib.suppress(OSError):
            # "pid (name) state parent ...": the name may hold any character, so read from its last bracket on.
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            yield Process(int(entry.name), int(parent), state)


def parents(proc: Path = PROC) -> dict[int, int]:
    """Process id -> its parent's, of all processes."""
    return {process.pid: process.parent for process in processes(proc)}


def children_of(parent: int, proc: Path = PROC) -> list[int]:
    """Living children; zombies are left out."""
    return [process.pid for process in processes(proc) if process.parent == parent and process.state != _ZOMBIE]


def descendants(root: int, proc: Path = PROC) -> list[int]:
    """All living processes below `root`, nearest first."""
    children: dict[int, list[int]] = {}
    for process in processes(proc):
        if process.state != _ZOMBIE:
            children.setdefault(process.parent, []).append(process.pid)
    found: list[int] = []
    level = [root]
    while level:
        level = [child for parent in level for child in children.get(parent, ())]
        found += level
    return found


def name_of(pid: int, proc: Path = PROC) -> str | None:
    """The program's name, at most 15 characters; None if the process has ended."""
    with contextlib.suppress(OSError):
        return (proc / str(pid) / "comm").read_text().strip()
    return None


def listeners(ports: Collection[int], proc: Path = PROC) -> dict[int, set[int]]:
    """TCP port -> ids of the processes that listen on it; an empty set if none can be seen."""
    sockets = {f"socket:[{inode}]": port for port, inode in _listening(proc) if port in ports}
    found: dict[int, set[int]] = {port: set() for port in ports}
    for process in processes(proc) if sockets else ():
        for link in _open_files(proc / str(process.pid) / "fd"):
            if link in sockets:
                found[sockets[link]].add(process.pid)
    return found


def _listening(proc: Path) -> Iterator[tuple[int, str]]:
    """Port and inode of each listening socket."""
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in (proc / "net" / table).read_text().splitlines()[1:]:
                columns = line.split()
                if columns[3] == _LISTEN:
                    yield int(columns[1].rpartition(":")[2], 16), columns[9]


def _open_files(directory: Path) -> Iterator[str]:
    with contextlib.suppress(OSError):
        for entry in directory.iterdir():
            with contextlib.suppress(OSError):
                yield str(entry.readlink())
