"""Which loopback ports our processes get. Chosen once, then kept: addresses in people's notes stay right."""

import errno
import random
import socket
from collections.abc import Mapping
from pathlib import Path

HOST = "127.0.0.1"
DEFAULT_GATEWAY_PORT = 8080
GATEWAY = "gateway"
_CHOICE = range(20_000, 32_000)
"""Below the ports that Linux gives to outgoing connections (32768 and up): those would take ours at any moment."""
_TRIES = 200


def is_free(port: int) -> bool:
    """Whether we could listen there. Raises OSError for anything but a port in use."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that linger do not hold a port
        try:
            probe.bind((HOST, port))
            probe.listen()
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise
    return True


def choose(names: tuple[str, ...], kept: Mapping[str, int]) -> dict[str, int]:
    """A free port for each name, the one it had before where that is free still. Raises OSError when none is left."""
    chosen: dict[str, int] = {}
    for name in names:
        before = kept.get(name)
        if before is not None and before not in chosen.values() and is_free(before):
            chosen[name] = before
        else:
            chosen[name] = _new(set(chosen.values()) | set(kept.values()))
    return chosen


def _new(taken: set[int]) -> int:
    for port in random.sample(_CHOICE, _TRIES):
        if port not in taken and is_free(port):
            return port
    raise OSError(errno.EADDRINUSE, f"found no free port between {_CHOICE.start} and {_CHOICE.stop} in {_TRIES} tries")


def listener_of(port: int) -> str | None:
    """Who listens there, as `name (process 123)`; None when that cannot be seen (another user's process)."""
    inode = _listening_inode(port)
    if inode is None:
        return None
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if str(descriptor.readlink()) == f"socket:[{inode}]":
                process = descriptor.parent.parent
                return f"{(process / 'comm').read_text().strip()} (process {process.name})"
        except OSError:  # ended meanwhile, or not ours to look at
            continue
    return None


def _listening_inode(port: int) -> str | None:
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        try:
            lines = table.read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            columns = line.split()
            if columns[3] == "0A" and int(columns[1].rpartition(":")[2], 16) == port:  # 0A: LISTEN
                return columns[9]
    return None
