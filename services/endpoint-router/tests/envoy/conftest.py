"""A real Envoy between two scripted HTTP servers: an engine and token-quota.

Both are scripted byte by byte, because what is tested is what Envoy and the filter make of exact bytes. By default the
engine answers every request with JSON_ANSWER, and token-quota grants it to the cluster `default/m`.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from arks.endpoint_router.envoy import (
    Backend,
    GatewaySettings,
    command,
    listener,
    static_bootstrap,
    static_cluster,
    to_json,
    token_quota_cluster,
)
from arks.kit.process import free_port
from arks.kit.testing.servers import Server, program, serve
from arks.kit.testing.wait import eventually

JSON_ANSWER = (
    b'{"id":"x","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"hi"}}],'
    b'"usage":{"prompt_tokens":12,"completion_tokens":3,"total_tokens":15}}'
)
COLUMNS = (
    *("request_id", "start", "duration_ms", "first_byte_ms", "status", "flags", "upstream"),
    *("operation", "stream", "grant", "usage"),
)


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


Script = Callable[[Request, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class ScriptedServer:
    """An HTTP/1.1 server that answers as `script` says and keeps what it was asked."""

    script: Script
    port: int = field(default_factory=free_port)
    requests: list[Request] = field(default_factory=list)
    _connections: set[asyncio.Task[None]] = field(default_factory=set)
    _server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._connection, "127.0.0.1", self.port)

    async def stop(self) -> None:
        """As if killed: connections break off where they are."""
        if self._server is None:
            return
        self._server.close()
        connections = list(self._connections)
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections)
        await self._server.wait_closed()
        self._server = None

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.current_task()
        assert connection is not None
        self._connections.add(connection)
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                request = await _read_request(reader)
                self.requests.append(request)
                await self.script(request, writer)
                await writer.drain()
        self._connections.discard(connection)
        writer.transport.abort()


async def _read_request(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, path, _ = head[0].split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    if headers.get("transfer-encoding") == "chunked":
        return Request(method, path, headers, await _read_chunks(reader))
    return Request(method, path, headers, await reader.readexactly(int(headers.get("content-length", "0"))))


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int(await reader.readline(), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readline()
    return body


def head(status: int = 200, **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Scripted", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def answer(body: bytes = JSON_ANSWER, status: int = 200, **headers: str) -> Script:
    async def script(_: Request, writer: asyncio.StreamWriter) -> None:
        fields = {"content_type": "application/json", "content_length": str(len(body)), **headers}
        writer.write(head(status, **fields) + body)

    return script


def stream(pieces: Sequence[bytes], *, pause_seconds: float = 0.001, end: bool = True) -> Script:
    """A chunked event stream. The pause, as between two tokens, makes Envoy see each piece by itself.

    Without `end` the connection breaks off after the last piece.
    """

    async def script(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(head(content_type="text/event-stream", transfer_encoding="chunked"))
        for piece in pieces:
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            await writer.drain()
            await asyncio.sleep(pause_seconds)
        if not end:
            writer.transport.abort()
        writer.write(b"0\r\n\r\n")

    return script


async def silence(*_: object) -> None:
    """A script that never answers."""
    await asyncio.Event().wait()


def grant(cluster: str = "default/m", **headers: str) -> Script:
    fields = {
        "x_arks_cluster": cluster,
        "x_arks_grant": "default/m/alice/10/20",
        "x_arks_grant_requests": "1",
        "x_arks_grant_expires_milliseconds": "60000",
        "x_ratelimit_limit_requests": "100",
        "x_ratelimit_remaining_requests": "99",
        **headers,
    }
    return answer(b"", 200, **fields)


@dataclass
class Gateway:
    envoy: Server
    admin_port: int
    engines: list[ScriptedServer]
    admission: ScriptedServer
    usage_log: Path
    client: httpx.AsyncClient
    lua_errors: int = 0
    """How often the filter is meant to fail."""

    @property
    def engine(self) -> ScriptedServer:
        return self.engines[0]

    async def post(self, content: bytes, path: str = "/v1/chat/completions", **options: object) -> httpx.Response:
        headers = {"authorization": "Bearer sk-secret", "content-type": "application/json"}
        return await self.client.post(path, content=content, **{"headers": headers, **options})  # type: ignore[arg-type]

    async def usage(self, lines: int = 1) -> list[dict[str, str]]:
        """The usage log once it has so many lines."""
        await eventually(lambda: self.usage_log.read_text().count("\n") >= lines, what=f"{lines} lines of usage")
        return [dict(zip(COLUMNS, line.split("\t"), strict=True)) for line in self.usage_log.read_text().splitlines()]

    async def stat(self, name: str) -> int:
        async with httpx.AsyncClient() as admin:
            text = (await admin.get(f"http://127.0.0.1:{self.admin_port}/stats", params={"filter": f"^{name}$"})).text
        return int(text.split(": ")[1])


@dataclass(frozen=True)
class Scripts:
    """What tests script servers with; a fixture, because tests are no package and cannot import this file."""

    answer: Callable[..., Script] = answer
    grant: Callable[..., Script] = grant
    stream: Callable[..., Script] = stream
    silence: Script = silence


@pytest.fixture(scope="session")
def scripts() -> Scripts:
    return Scripts()


GatewayFactory = Callable[..., Awaitable[Gateway]]


@asynccontextmanager
async def _running(server: ScriptedServer) -> AsyncIterator[ScriptedServer]:
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@pytest_asyncio.fixture
async def make_gateway(tmp_path: Path) -> AsyncIterator[GatewayFactory]:
    """Starts an Envoy with so many engines. The filter must not have failed when the test ends."""
    async with AsyncExitStack() as stack:
        made: list[Gateway] = []

        async def make(engines: int = 1, **settings: float) -> Gateway:
            servers = [await stack.enter_async_context(_running(ScriptedServer(answer()))) for _ in range(engines)]
            admission = await stack.enter_async_context(_running(ScriptedServer(grant())))
            port, admin_port, log = free_port(), free_port(), tmp_path / "usage.log"
            gate = listener(GatewaySettings(usage_log_path=str(log), port=port, **settings))  # type: ignore[arg-type]
            backends = [Backend("127.0.0.1", server.port) for server in servers]
            clusters = [static_cluster("default/m", backends), token_quota_cluster("127.0.0.1", admission.port)]
            config = tmp_path / "envoy.json"
            config.write_text(to_json(static_bootstrap("test", admin_port, [gate], clusters)))
            line = command(program("envoy"), str(config), workers=1)
            envoy = await stack.enter_async_context(serve(line, port, tmp_path))
            client = await stack.enter_async_context(httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20))
            made.append(Gateway(envoy, admin_port, servers, admission, log, client))
            return made[-1]

        yield make
        for gateway in made:
            if gateway.envoy.process.returncode is None:
                errors = await gateway.stat("http.gateway.lua.errors")
                assert gateway.lua_errors == errors, gateway.envoy.log_file.read_text()


@pytest_asyncio.fixture
async def gateway(make_gateway: GatewayFactory) -> Gateway:
    return await make_gateway()
