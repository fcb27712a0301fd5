"""Free TCP ports of loopback, and sockets to listen on."""

import contextlib
import errno
import secrets
import socket
from collections import deque
from collections.abc import Collection

CANDIDATES = range(10_000, 32_000)
"""Below the ephemeral range of Linux (from 32768), so that no outgoing connection takes the port first."""
_TRIES = 1000
_recent: deque[int] = deque(maxlen=1000)


ALL_FAMILIES = "::"
"""Listen on all addresses, of IPv6 and of IPv4."""


def authority(host: str, port: int) -> str:
    """`host:port` as URLs have it: an IPv6 address is in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def listening_socket(host: str, port: int) -> socket.socket:
    """A socket that listens on the address; on ALL_FAMILIES it takes connections of both. Raises OSError if the port
    is in use."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, dualstack_ipv6=host == ALL_FAMILIES)


def free_port(candidates: range | None = None, exclude: Collection[int] = ()) -> int:
    """A port of CANDIDATES on which no process listens at this moment. Raises OSError if none is found.

    The last 1000 results are not returned again: their servers may not listen yet.
    """
    candidates = CANDIDATES if candidates is None else candidates
    for _ in range(_TRIES):
        port = secrets.choice(candidates)
        if port in _recent or port in exclude:
            continue
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            _recent.append(port)
            return port
    raise OSError(errno.EADDRINUSE, f"no free port in {candidates.start}..{candidates.stop} after {_TRIES} tries")
