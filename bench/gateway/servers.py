"""The servers of Arks' data path as processes: stores, token-quota, usage meter, Envoy and its usage shipper."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis.asyncio

from arks.contracts.resources import Resource
from arks.endpoint_router.adapters.envoy import (
    GatewaySettings,
    listener,
    static_bootstrap,
    to_json,
    token_quota_cluster,
)
from arks.endpoint_router.adapters.envoy.listeners import build
from arks.endpoint_router.adapters.envoy.messages import Cluster, Listener
from arks.endpoint_router.adapters.envoy.routes import GENERATION_PATHS, to_engine
from arks.endpoint_router.testing.program import envoy_line
from arks.kit.ports import free_port
from arks.kit.testing.servers import Server, nats_server, serve, valkey_server
from arks.local.plan.programs import BACKGROUND_NICE, service_command
from bench.gateway.resources import PEPPER, publish
from bench.gateway.scenarios import CLUSTER_HEADER

GATEWAY_NAME = "bench"


@dataclass(frozen=True)
class Stores:
    """NATS and a Redis-compatible server, with the settings by which services find them."""

    directory: Path
    nats: Server
    valkey: Server
    environment: Mapping[str, str] = field(default_factory=dict)

    async def calls(self) -> int:
        """Commands that the Redis-compatible server has run, those inside of scripts included."""
        client = redis.asyncio.Redis(port=self.valkey.port, password=self.valkey.password)
        try:
            statistics = await client.info("commandstats")
        finally:
            await client.aclose()
        own = {"cmdstat_info", "cmdstat_auth", "cmdstat_hello", "cmdstat_client|setinfo"}
        return sum(command["calls"] for name, command in statistics.items() if name not in own)


@dataclass(frozen=True)
class Gateway:
    envoy: Server
    admin_port: int

    @property
    def port(self) -> int:
        return self.envoy.port

    @property
    def pid(self) -> int:
        return self.envoy.process.pid


@asynccontextmanager
async def stores(
    directory: Path,
    resources: Sequence[Resource],
    models: Sequence[str],
    start_valkey: Callable[[Path], AbstractAsyncContextManager[Server]] = valkey_server,
) -> AsyncIterator[Stores]:
    """Start both with the resources in them."""
    async with nats_server(directory / "nats") as nats, start_valkey(directory / "valkey") as valkey:
        await publish(nats.port, resources, models)
        (directory / "password").write_text(valkey.password)
        (directory / "pepper").write_text(PEPPER)
        settings = {
            "NATS_URL": f"nats://127.0.0.1:{nats.port}",
            "STATE_DIR": directory,
            "REDIS_URL": f"redis://127.0.0.1:{valkey.port}",
            "REDIS_PASSWORD_FILE": directory / "password",
            "LOG_LEVEL": "warning",
        }
        yield Stores(directory, nats, valkey, {f"ARKS_{name}": str(value) for name, value in settings.items()})


@asynccontextmanager
async def service(stores: Stores, module: str, name: str, port: int, **settings: object) -> AsyncIterator[Server]:
    """Run a program of Arks as `arks up` does, until the port accepts connections."""
    directory = stores.directory / name
    directory.mkdir()
    environment = {**stores.environment, **{f"ARKS_{setting}": str(value) for setting, value in settings.items()}}
    async with serve([*_with(environment), *service_command(module)], port, directory) as server:
        yield server


@asynccontextmanager
async def token_quota(stores: Stores, name: str = "token-quota", **settings: object) -> AsyncIterator[Server]:
    port = free_port()
    async with service(stores, "arks.token_quota.main", name, port, API_PORT=port, **settings) as server:
        yield server


@asynccontextmanager
async def usage_meter(stores: Stores, name: str = "usage-meter", **settings: Any) -> AsyncIterator[Server]:
    health = free_port()
    settings |= {"HTTP_PORT": health, "NICE": BACKGROUND_NICE}
    async with service(stores, "arks.token_quota.programs.meter", name, health, **settings) as server:
        yield server


@asynccontextmanager
async def plain_envoy(directory: Path, clusters: Sequence[Cluster], workers: int = 1) -> AsyncIterator[Gateway]:
    """Run the gateway's listener without filter and usage log; a header of the client names the cluster."""
    settings = GatewaySettings(str(directory / "usage.log"), port=free_port(), connections_per_address=0)
    routes = [
        {"match": {"path": path}, **to_engine({"cluster_header": CLUSTER_HEADER}, settings)}
        for path in GENERATION_PATHS
    ]
    limit = settings.body_limit_bytes
    host = {"name": "plain", "domains": ["*"], "request_body_buffer_limit": limit, "routes": routes}
    plain = build(settings, {"name": "plain", "virtual_hosts": [host]}, filters=[], access_log=[])
    async with _envoy(directory, plain, clusters, workers) as gateway:
        yield gateway


@asynccontextmanager
async def arks_gateway(
    stores: Stores, clusters: Sequence[Cluster], quota_ports: Sequence[int], workers: int = 1
) -> AsyncIterator[tuple[Gateway, Server]]:
    """Run Envoy with the admission filter and its shipper. Yields both."""
    usage_log = stores.directory / "usage.log"
    gate = listener(GatewaySettings(str(usage_log), port=free_port()))
    async with AsyncExitStack() as stack:
        envoy = _envoy(stores.directory / "envoy", gate, [*clusters, quota_cluster(quota_ports)], workers)
        gateway = await stack.enter_async_context(envoy)
        settings = {"USAGE_LOG": usage_log, "ENVOY_ADMIN_PORT": gateway.admin_port, "GATEWAY": GATEWAY_NAME}
        health = free_port()
        module = "arks.token_quota.programs.shipper"
        shipper = service(stores, module, "shipper", health, HTTP_PORT=health, NICE=BACKGROUND_NICE, **settings)
        yield gateway, await stack.enter_async_context(shipper)


def quota_cluster(ports: Sequence[int]) -> Cluster:
    """Return the cluster of admission with a replica on each of these ports of loopback."""
    cluster = token_quota_cluster("127.0.0.1", ports[0])
    for port in ports[1:]:
        endpoint = cluster.load_assignment.endpoints[0].lb_endpoints.add()
        endpoint.endpoint.address.socket_address.address = "127.0.0.1"
        endpoint.endpoint.address.socket_address.port_value = port
    return cluster


@asynccontextmanager
async def _envoy(directory: Path, gate: Listener, clusters: Sequence[Cluster], workers: int) -> AsyncIterator[Gateway]:
    directory.mkdir()
    port, admin_port = gate.address.socket_address.port_value, free_port()
    config = directory / "envoy.json"
    config.write_text(to_json(static_bootstrap("bench", admin_port, [gate], clusters)))
    line = envoy_line(config, workers, ARKS_GATEWAY=GATEWAY_NAME)
    async with serve(line, port, directory) as server:
        yield Gateway(server, admin_port)


def _with(environment: Mapping[str, str]) -> list[str]:
    """Return the beginning of a command line that sets the environment; `env` keeps the process id."""
    return ["env", *(f"{name}={value}" for name, value in environment.items())]
