"""granian embedded in our event loop: one port, one worker, RSGI."""

import asyncio
import socket
from pathlib import Path
from typing import Any

from granian.constants import HTTPModes
from granian.server.embed import Server

from arks.kit.errors import Unavailable
from arks.kit.ports import free_port

_LISTEN_SECONDS = 10.0
_CONNECTIONS = 4096
"""More wait to be accepted. Each request that is held has one."""


class GranianServer:
    """Serves `target` between `start` and `stop`. It installs no signal handlers: the service's own decide when to
    stop.
    """

    def __init__(self, target: Any, host: str, port: int, unix_socket: Path | None = None) -> None:
        """`unix_socket`: path of a Unix socket instead of host and port."""
        self._host = host
        self._socket = unix_socket
        self._port = port or free_port()
        self._server = Server(
            target,
            address=host,
            port=self._port,
            uds=unix_socket,
            http=HTTPModes.auto,
            websockets=False,
            backlog=1024,
            backpressure=_CONNECTIONS,
            log_enabled=False,
        )
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> int:
        """Returns the port once it accepts connections. Raises Unavailable when it cannot listen."""
        if self._socket is not None:
            self._socket.unlink(missing_ok=True)  # of a process that was killed
        self._check_free()
        self._serving = asyncio.create_task(self._server.serve(), name="api")
        try:
            async with asyncio.timeout(_LISTEN_SECONDS):
                while not self._serving.done():
                    if await self._accepts():
                        return self._port
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise Unavailable(f"the API did not begin to listen on {self._address}") from None
        error = self._serving.exception()
        raise Unavailable(f"the API cannot listen on {self._address}: {error}") from error

    async def run(self) -> None:
        """Returns (or raises) when the server has ended."""
        if self._serving is not None:
            await asyncio.shield(self._serving)

    async def stop(self) -> None:
        """Answer the requests in flight, then close the port."""
        if self._serving is None:
            return
        self._server.stop()  # type: ignore[no-untyped-call]
        await asyncio.wait({self._serving}, timeout=_LISTEN_SECONDS)

    def _check_free(self) -> None:
        """granian shares its port (SO_REUSEPORT): two services would each get half of the requests without
        an error.
        """
        if self._socket is not None:
            return
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((self._host, self._port))
            except OSError as error:
                raise Unavailable(f"the API cannot listen on {self._address}: {error.strerror}") from error

    async def _accepts(self) -> bool:
        try:
            _, writer = await self._connect()
        except OSError:
            return False
        writer.close()
        return True

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._socket is not None:
            return await asyncio.open_unix_connection(self._socket)
        return await asyncio.open_connection(self._host, self._port)

    @property
    def _address(self) -> str:
        return str(self._socket) if self._socket is not None else f"{self._host}:{self._port}"
