"""Choose the loopback ports of the processes: once, then kept, so that addresses in scripts and notes stay valid."""

import errno
import socket
from collections.abc import Mapping

from arks.kit.ports import free_port
from arks.kit.proc import listeners, name_of
from arks.local.plan.addresses import HOST

CHOICE = range(20_000, 32_000)
"""Below the ephemeral range of Linux (from 32768), so that no outgoing connection takes a port first."""


def is_free(port: int) -> bool:
    """Whether a process could listen on the port. Raises OSError for any other error than a port in use."""
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
    """Name -> a free port, the one in `kept` if it is still free. Raises OSError if no port is free."""
    chosen: dict[str, int] = {}
    for name in names:
        before = kept.get(name)
        if before is not None and before not in chosen.values() and is_free(before):
            chosen[name] = before
        else:
            chosen[name] = free_port(CHOICE, {*chosen.values(), *kept.values()})
    return chosen


def listener_of(port: int) -> str | None:
    """The process that listens on the port, as `name (process 123)`; None if it is hidden (another user's process)."""
    for pid in sorted(listeners([port])[port]):
        if (name := name_of(pid)) is not None:
            return f"{name} (process {pid})"
    return None
