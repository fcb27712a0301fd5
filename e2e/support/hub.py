"""The hub that the journeys' models are downloaded from: one process for all test processes and for a kept cluster.

usage: python -m e2e.support.hub HOST PORT SOCKET

Pods download from HOST:PORT; test processes call `SharedHub` over the socket.
"""

import sys
from collections.abc import Mapping
from multiprocessing.managers import BaseManager
from pathlib import Path

from anyio.from_thread import start_blocking_portal

from arks.kit.testing.servers import small_model
from arks.model_manager.testing.hub import Hub, hub_server
from e2e.support.tenant import SMALL_MODEL

_AUTHENTICATION = b"arks"  # the directory of the socket is root's


class SharedHub:
    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def add(self, name: str, files: Mapping[str, bytes], *, token: str | None = None, gated: bool = False) -> None:
        """Add a repository, or replace it. `token`: required of every request."""
        self._hub.add(name, files, token=token, gated=gated)

    def served_bytes(self, path: str) -> int:
        """Of files with this path, of all repositories."""
        return self._hub.served_bytes[path]


class _Manager(BaseManager):
    def hub(self) -> SharedHub:
        """A proxy of the hub in the other process; `register` replaces this method."""
        raise NotImplementedError


def connected(socket: Path) -> SharedHub:
    """A proxy of the hub that listens there. Raises OSError when none does."""
    manager = _Manager(address=str(socket), authkey=_AUTHENTICATION)
    manager.connect()
    return manager.hub()


def serve(host: str, port: int, socket: str) -> None:
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(hub_server(host, port)) as hub:
        hub.add(SMALL_MODEL, {"config.json": b"{}", "model.gguf": small_model().read_bytes()})
        shared = SharedHub(hub)
        _Manager.register("hub", callable=lambda: shared, exposed=("add", "served_bytes"))
        _Manager(address=socket, authkey=_AUTHENTICATION).get_server().serve_forever()


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), sys.argv[3])
else:
    _Manager.register("hub", exposed=("add", "served_bytes"))
