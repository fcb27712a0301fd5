"""The compared systems: the engine by itself, plain Envoy, and Arks' gateway with everything behind it."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from arks.contracts.resources import Resource
from arks.endpoint_router.adapters.envoy import Backend, static_cluster
from arks.kit.testing.servers import Server
from bench.gateway.load import Native, engine
from bench.gateway.resources import FAR_RATES, quota, token
from bench.gateway.scenarios import ENGINES, FAR, KEYS, NEAR
from bench.gateway.servers import Gateway, Stores, arks_gateway, plain_envoy, stores, token_quota, usage_meter
from bench.process_cost import cpu_seconds

ENGINE, PLAIN, ARKS = "engine", "plain", "Arks"
NEAR_RPM = 600


@dataclass(frozen=True)
class Side:
    name: str
    ports: Mapping[str, int]
    """Model -> port."""
    processes: Mapping[str, tuple[Server, ...]] = field(default_factory=dict)
    """By kind, as the output names it."""

    def cpu_seconds(self) -> dict[str, float]:
        """Of all processes of a kind, since their start. Raises RuntimeError if a process has ended."""
        return {kind: sum(map(_cpu_seconds, servers)) for kind, servers in self.processes.items()}


def _cpu_seconds(server: Server) -> float:
    if server.process.returncode is not None:
        log = server.log_file.read_text(errors="replace")[-2000:]
        raise RuntimeError(f"{' '.join(server.command)} ended with {server.process.returncode}: {log}")
    return cpu_seconds(server.process.pid)


@dataclass(frozen=True)
class Systems:
    sides: tuple[Side, ...]
    gateway: Gateway
    stores: Stores
    token_quota_pid: int
    token_quota_port: int


def resources() -> list[Resource]:
    """Return 1,000 tokens with limits that are never reached, and one whose limit is reached after a moment."""
    models = [engine.model for engine in ENGINES]
    far = [token(f"far-{number}", f"{FAR}{number:06}", models, FAR_RATES) for number in range(KEYS)]
    return [quota(), *far, token("near", f"{NEAR}000000", models, {**FAR_RATES, "rpm": NEAR_RPM})]


@asynccontextmanager
async def all_systems(directory: Path, native: Native, workers: int) -> AsyncIterator[Systems]:
    """Start all of them; both gateways use the same engines."""
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        ports = {
            each.model: await enter(engine(native.engine, directory / f"engine-{each.model}", *each.arguments))
            for each in ENGINES
        }
        clusters = [static_cluster(f"default/{model}", [Backend("127.0.0.1", port)]) for model, port in ports.items()]
        plain = await enter(plain_envoy(directory / "plain", clusters, workers))
        data = await enter(stores(directory, resources(), list(ports)))
        admission = await enter(token_quota(data))
        meter = await enter(usage_meter(data))
        gateway, shipper = await enter(arks_gateway(data, clusters, [admission.port], workers))
        processes = {
            "Envoy": (gateway.envoy,),
            "token-quota": (admission,),
            "usage-meter": (meter,),
            "shipper": (shipper,),
            "stores": (data.nats, data.valkey),
        }
        sides = (
            Side(ENGINE, ports),
            Side(PLAIN, dict.fromkeys(ports, plain.port), {"Envoy": (plain.envoy,)}),
            Side(ARKS, dict.fromkeys(ports, gateway.port), processes),
        )
        yield Systems(sides, gateway, data, admission.process.pid, admission.port)
