"""Free TCP ports of loopback."""

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
