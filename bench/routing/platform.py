"""The servers of the benchmark: NATS, metrics, endpoint-router, engines, and Envoys that get clusters from the router.

Each Envoy has a listener without admission, where a header of the client names the cluster: the router's endpoints, and
static clusters over the same replicas for comparison.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import aiohttp

from arks.contracts.facts import ReplicaFact, ReplicaState
from arks.contracts.resources import ArksEndpoint
from arks.contracts.subjects import Facts, fact_key
from arks.endpoint_router.adapters.envoy import (
    Backend,
    GatewaySettings,
    ads_bootstrap,
    load_assignment,
    static_cluster,
    to_json,
)
from arks.endpoint_router.adapters.envoy.clusters import AFFINITY_HEADER
from arks.endpoint_router.adapters.envoy.listeners import build
from arks.endpoint_router.adapters.envoy.messages import Bootstrap, Cluster, HeaderMutationFilter, extension
from arks.endpoint_router.adapters.envoy.routes import GENERATION_PATHS, to_engine
from arks.endpoint_router.domain.native import divide
from arks.endpoint_router.testing.program import envoy_line
from arks.events.v1.facts_pb2 import ReplicasFact
from arks.kit.bus import Bus
from arks.kit.bus import to_json as fact_json
from arks.kit.key import Key
from arks.kit.ports import free_port
from arks.kit.resources import LocalResources
from arks.kit.testing.servers import nats_server, serve
from arks.kit.testing.wait import eventually
from bench.gateway.resources import NAMESPACE, connected
from bench.gateway.scenarios import CLUSTER_HEADER
from bench.routing.engine import Spec, as_json
from bench.routing.load import KEY_HEADER, Load

LEAST_REQUEST, OF_FOUR, ROUND_ROBIN, FIXED = "least-request", "least-request-of-4", "round-robin", "fixed-shares"
"""Envoy's own policies; least request compares two random replicas by default. The last has a locality for each kind of
replica, with the shares that are best for the true capacities at FIXED_LOAD: what a person with that knowledge sets."""
FIXED_LOAD = 0.91
SIDES = (LEAST_REQUEST, OF_FOUR, ROUND_ROBIN, FIXED)


@dataclass
class Envoy:
    port: int
    admin_port: int


@dataclass
class Platform:
    bus: Bus
    client: aiohttp.ClientSession
    envoys: list[Envoy]
    specs: list[Spec]
    router_port: int
    known_slots: bool = False
    """Whether the fact has the slots of replicas."""
    endpoints: int = 0

    async def start_endpoint(self, spec: dict[str, Any]) -> str:
        """Create an endpoint of which nothing is known yet, over all replicas; return its cluster in the Envoys."""
        self.endpoints += 1
        name = f"chat{self.endpoints}"
        await self._write_fact(name, self.specs)
        manifest = {"metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec}
        await LocalResources(self.bus, ArksEndpoint).apply(ArksEndpoint.from_dict(manifest))
        for envoy in self.envoys:

            async def served(envoy: Envoy = envoy) -> bool:
                async with self.client.get(f"http://127.0.0.1:{envoy.admin_port}/clusters") as answer:
                    hosts = f"{NAMESPACE}/{name}::127.0.0.1:{self.specs[-1].port}::health_flags::healthy"
                    return hosts in await answer.text()

            await eventually(served, within_seconds=60, what=f"Envoy has {name}")
        return f"{NAMESPACE}/{name}"

    async def stop_endpoint(self, cluster: str) -> None:
        """Take the replicas out, so that they are not scraped any more."""
        name = cluster.rpartition("/")[2]
        await self._write_fact(name, [])
        await LocalResources(self.bus, ArksEndpoint).delete(Key(NAMESPACE, name))

    async def control(self, replica: int, **change: object) -> None:
        url = f"http://127.0.0.1:{self.specs[replica].port}/control"
        async with self.client.post(url, json=change) as answer:
            await answer.read()

    async def explain(self, cluster: str) -> dict[str, Any]:
        """Return what the router explains about an endpoint."""
        async with self.client.get(f"http://127.0.0.1:{self.router_port}/explain/{cluster}") as answer:
            return dict(await answer.json())

    async def _write_fact(self, application: str, specs: Sequence[Spec]) -> None:
        replicas = [
            ReplicaFact(
                f"{application}-{n}",
                "127.0.0.1",
                spec.port,
                ReplicaState.READY,
                spec.slots if self.known_slots else 0,
            ).to_message()
            for n, spec in enumerate(specs)
        ]
        runtime = self.specs[0].runtime
        fact = ReplicasFact(
            namespace=NAMESPACE, application=application, served_model=application, runtime=runtime, replicas=replicas
        )
        bucket = await self.bus.bucket(Facts.REPLICAS)
        await bucket.put(fact_key(NAMESPACE, application), fact_json(fact))


@asynccontextmanager
async def platform(
    directory: Path, specs: list[Spec], envoys: int, *, known_slots: bool = False
) -> AsyncIterator[Platform]:
    """Start everything. The engines of all endpoints are the same."""
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        (directory / "engines").mkdir()
        engines = [sys.executable, "-m", "bench.routing.engine", as_json(specs)]
        await enter(serve(engines, specs[0].port, directory / "engines"))
        nats = await enter(nats_server(directory / "nats"))
        bus = await enter(connected(nats.port))
        client = await enter(aiohttp.ClientSession())
        xds_port, router_port = free_port(), free_port()
        settings = {"NATS_URL": f"nats://127.0.0.1:{nats.port}", "STATE_DIR": directory, "LOG_LEVEL": "warning"}
        ports = {"XDS_PORT": xds_port, "GATEWAY_PORT": free_port(), "HTTP_PORT": router_port}
        await enter(service(directory, "endpoint_router", xds_port, settings | ports))
        metrics_port = free_port()
        await enter(service(directory, "metrics", metrics_port, settings | {"HTTP_PORT": metrics_port}))
        started = [await enter(_envoy(directory / f"envoy{n}", specs, xds_port)) for n in range(envoys)]
        yield Platform(bus, client, started, specs, router_port, known_slots)


@asynccontextmanager
async def service(directory: Path, name: str, port: int, settings: dict[str, object]) -> AsyncIterator[int]:
    """Run a service until the end of the context; yield the number of its process."""
    own = directory / name
    own.mkdir()
    environment = [f"ARKS_{setting}={value}" for setting, value in settings.items()]
    async with serve(["env", *environment, sys.executable, "-m", f"arks.{name}.main"], port, own) as server:
        yield server.process.pid


@asynccontextmanager
async def _envoy(directory: Path, specs: Sequence[Spec], xds_port: int) -> AsyncIterator[Envoy]:
    directory.mkdir()
    port, admin_port = free_port(), free_port()
    settings = GatewaySettings(str(directory / "usage.log"), port=port)
    routes = [
        {"match": {"path": path}, **to_engine({"cluster_header": CLUSTER_HEADER}, settings)}
        for path in GENERATION_PATHS
    ]
    host = {"name": "plain", "domains": ["*"], "routes": routes}
    filters = [{"name": "key", "typed_config": extension(HeaderMutationFilter, mutations=_key())}]
    listener = build(settings, {"name": "plain", "virtual_hosts": [host]}, filters, access_log=[])
    listener.name = "plain"
    bootstrap: Bootstrap = ads_bootstrap(f"bench-{port}", "127.0.0.1", xds_port, admin_port)
    # The router's listener would need token-quota, and every Envoy of this machine the same port.
    bootstrap.dynamic_resources.ClearField("lds_config")
    bootstrap.static_resources.listeners.append(listener)
    bootstrap.static_resources.clusters.extend(_plain(name, specs) for name in (LEAST_REQUEST, OF_FOUR, ROUND_ROBIN))
    bootstrap.static_resources.clusters.append(_fixed(specs))
    (directory / "envoy.json").write_text(to_json(bootstrap))
    async with serve(envoy_line(directory / "envoy.json"), port, directory):
        yield Envoy(port, admin_port)


def _key() -> dict[str, Any]:
    """Return what sets the key of affinity, as the gateway's filter does, from a header of the load generator."""
    header = {"key": AFFINITY_HEADER, "value": f"%REQ({KEY_HEADER})%"}
    return {"request_mutations": [{"append": {"header": header, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}}]}


def _plain(name: str, specs: Sequence[Spec]) -> Cluster:
    """Return a cluster of all replicas with one of Envoy's own policies, as it is without settings."""
    cluster = static_cluster(name, [Backend("127.0.0.1", spec.port) for spec in specs])
    cluster.ClearField("load_balancing_policy")
    cluster.lb_policy = Cluster.ROUND_ROBIN if name == ROUND_ROBIN else Cluster.LEAST_REQUEST
    if name == OF_FOUR:
        cluster.least_request_lb_config.choice_count.value = 4
    return cluster


def _fixed(specs: Sequence[Spec]) -> Cluster:
    kinds = list(dict.fromkeys((spec.slots, spec.seconds) for spec in specs))
    counts = [sum((spec.slots, spec.seconds) == kind for spec in specs) for kind in kinds]
    capacities = [(count * slots, 1 / seconds) for count, (slots, seconds) in zip(counts, kinds, strict=True)]
    shares = divide(capacities, FIXED_LOAD)
    cluster = static_cluster(FIXED, [])
    backends = [Backend("127.0.0.1", spec.port, group=f"{spec.slots} {spec.seconds}") for spec in specs]
    weights = {f"{slots} {seconds}": round(1e5 * share) for (slots, seconds), share in zip(kinds, shares, strict=True)}
    cluster.load_assignment.CopyFrom(load_assignment(FIXED, backends, weights))
    return cluster


async def generate(platform: Platform, load: Load) -> list[dict[str, Any]]:
    """Run the load generator as a process of its own; return its records."""
    ports = ",".join(str(envoy.port) for envoy in platform.envoys)
    command_ = [sys.executable, "-m", "bench.routing.load", ports, json.dumps(asdict(load))]
    process = await asyncio.create_subprocess_exec(*command_, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    return list(json.loads(output))
