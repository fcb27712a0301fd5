"""A real Envoy with the gateway's listener, between scripted engines and a scripted token-quota."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from arks.endpoint_router.adapters.envoy import (
    Backend,
    GatewaySettings,
    collector_cluster,
    listener,
    static_bootstrap,
    static_cluster,
    to_json,
    token_quota_cluster,
)
from arks.endpoint_router.testing.program import envoy_line
from arks.endpoint_router.testing.scripted import Request, Script, ScriptedServer, answer
from arks.gateway_filter import FAULTS
from arks.kit.ports import free_port
from arks.kit.testing.servers import Server, serve
from arks.kit.testing.wait import eventually

COLUMNS = (
    *("kind", "request_id", "start", "duration_ms", "first_byte_ms", "status", "flags", "attempts", "upstream"),
    *("operation", "stream", "grant", "usage"),
)

REJECTION = b'{"error":{"message":"no","type":"t","param":null,"code":"c"}}'


def grant(cluster: str = "default/m", **headers: str) -> Script:
    """Return a script that answers /v1/admit by a grant whose lease holds nothing else, and /v1/key by 204."""
    fields = {
        "x_arks_cluster": cluster,
        "x_arks_grant": "default/m/alice/lease0000001/10/20",
        "x_arks_lease": "0,0,0,1000,512",
        "x_arks_outage": "refuse",
        "x_ratelimit_limit_requests": "100",
        "x_ratelimit_remaining_requests": "99",
        **headers,
    }
    granted, valid = answer(b"", 200, **fields), answer(b"", 204, x_arks_valid_milliseconds="1000")

    async def script(request: Request, writer: asyncio.StreamWriter) -> None:
        await (valid if request.path == "/v1/key" else granted)(request, writer)

    return script


def leases(amount: str = "3,1000,1000,1000,512", **headers: str) -> Script:
    """Return a script that gives every query a lease of its own, as token-quota does."""
    numbers = itertools.count(1)

    async def script(request: Request, writer: asyncio.StreamWriter) -> None:
        own = f"default/m/alice/lease{next(numbers):07}/10/20"
        await grant(**{"x_arks_grant": own, "x_arks_lease": amount, **headers})(request, writer)

    return script


def rejected(refusal: str, status: int = 429, **headers: str) -> Script:
    """Return a script that rejects every query. `refusal`: for how long and what, as in `x-arks-refusal`."""
    fields = {"x_arks_refusal": refusal, "retry_after": "3", "x_ratelimit_remaining_requests": "0", **headers}
    return answer(REJECTION, status, **fields)


@dataclass
class Gateway:
    envoy: Server
    admin_port: int
    engines: list[ScriptedServer]
    admission: ScriptedServer
    usage_log: Path
    client: httpx.AsyncClient

    @property
    def engine(self) -> ScriptedServer:
        return self.engines[0]

    @property
    def starts_log(self) -> Path:
        return self.usage_log.with_name(f"{self.usage_log.name}.starts")

    def queries(self, path: str = "/v1/admit") -> list[Request]:
        """Return what token-quota was queried for."""
        return [request for request in self.admission.requests if request.path == path]

    def starts(self) -> list[list[str]]:
        """Return the columns of each line in the starts file, as text."""
        return [list(map(_text, json.loads(line))) for line in self.starts_log.read_text().splitlines()]

    async def post(self, content: Any, path: str = "/v1/chat/completions", **options: Any) -> httpx.Response:
        headers = {"authorization": "Bearer sk-secret", "content-type": "application/json"}
        return await self.client.post(path, content=content, **{"headers": headers, **options})

    async def usage(self, lines: int = 1) -> list[dict[str, str]]:
        """Return the usage log once it has this many lines: columns as text, grant and usage with their numbers."""
        await eventually(lambda: self.usage_log.read_text().count("]\n") >= lines, what=f"{lines} lines of usage")
        written = [json.loads(line) for line in self.usage_log.read_text().splitlines() if line]
        return [_columns(list(map(_text, line))) for line in written]

    async def stat(self, name: str) -> int:
        """Return a counter of Envoy; 0 if it has none of that name."""
        async with httpx.AsyncClient(timeout=60) as admin:
            text = (await admin.get(f"http://127.0.0.1:{self.admin_port}/stats", params={"filter": f"^{name}$"})).text
        return int(text.partition(": ")[2] or 0)


def _columns(line: list[str]) -> dict[str, str]:
    return dict(zip(COLUMNS, [*line[:11], "/".join(line[11:14]), ",".join(line[14:])], strict=True))


def _text(value: str | int | bool) -> str:
    return value if isinstance(value, str) else json.dumps(value)


class Gateways:
    """Starts gateways; `stop` stops them and checks how often their filters failed."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._stack = AsyncExitStack()
        self._started: list[Gateway] = []

    async def start(
        self,
        engines: int = 1,
        load_limit_percent: int | None = None,
        *,
        joins_streams: bool = False,
        backends: Sequence[Backend] = (),
        **settings: Any,
    ) -> Gateway:
        """Start a gateway. By default every request is granted and every engine answers JSON_ANSWER.

        `load_limit_percent`: of an endpoint with affinity. `joins_streams`: of one whose engines stop for streams only.
        `backends`: engines beside the scripted ones. `settings`: of GatewaySettings.
        `client` uses plain HTTP, also for a gateway with a certificate.
        """
        enter = self._stack.enter_async_context
        servers = [await enter(_running(ScriptedServer(answer()))) for _ in range(engines)]
        admission = await enter(_running(ScriptedServer(grant())))
        port, admin_port, log = free_port(), free_port(), self._directory / "usage.log"
        gate = listener(GatewaySettings(usage_log_path=str(log), port=port, **settings))
        backends = [*backends, *[Backend("127.0.0.1", server.port) for server in servers]]
        endpoint = static_cluster("default/m", backends, load_limit_percent, joins_streams=joins_streams)
        clusters = [endpoint, token_quota_cluster("127.0.0.1", admission.port)]
        if traces := settings.get("traces"):
            clusters.append(collector_cluster(traces))
        config = self._directory / "envoy.json"
        config.write_text(to_json(static_bootstrap("test", admin_port, [gate], clusters)))
        envoy = await enter(serve(envoy_line(config), port, self._directory))
        client = await enter(httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60))
        gateway = Gateway(envoy, admin_port, servers, admission, log, client)
        self._started.append(gateway)
        return gateway

    async def stop(self) -> None:
        """Stop all gateways. Raises AssertionError if a hook of a filter failed."""
        async with self._stack:
            for gateway in self._started:
                faults = await gateway.stat(FAULTS)
                assert faults == 0, gateway.envoy.log_file.read_text()


@asynccontextmanager
async def _running(server: ScriptedServer) -> AsyncIterator[ScriptedServer]:
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
