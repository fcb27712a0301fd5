"""The whole service with its shipper on a real NATS, Valkey, SQLite and granian: from a line in the log to the
ledger.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import httpx
import openai
import pytest
import pytest_asyncio

from arks.contracts.conditions import is_true
from arks.contracts.resources import ArksQuota, ArksToken, hash_key
from arks.contracts.subjects import Facts
from arks.events.v1.facts_pb2 import EndpointFact
from arks.kit.app import App
from arks.kit.home import LocalHome
from arks.kit.key import Key
from arks.kit.ports import free_port
from arks.kit.resources import LocalResources
from arks.kit.testing.servers import Server
from arks.kit.testing.wait import eventually
from arks.token_quota.config import ShipperSettings, TokenQuotaSettings
from arks.token_quota.main import build
from arks.token_quota.programs.shipper.__main__ import build as build_shipper
from arks.token_quota.testing.fakes import PEPPER, quota, token

pytestmark = pytest.mark.real

LINE = "{id}\t{start:.3f}\t532\t41\t200\t-\t127.0.0.1:9001\tcompletions\t0\t{grant}\t{usage}\n"


@asynccontextmanager
async def running(app: App) -> AsyncIterator[App]:
    stop = asyncio.Event()
    serving = asyncio.create_task(app.serve(stop))
    try:
        await eventually(lambda: serving.done() or not app.problems(), what="the service is ready")
        yield app
    finally:
        stop.set()
        await serving


@dataclass
class Arks:
    settings: dict[str, Any]
    home: LocalHome
    api: httpx.AsyncClient
    directory: Path
    numbers: "itertools.count[int]" = field(default_factory=itertools.count)
    granted: list[str] = field(default_factory=list)
    """Ids of all requests that were granted, through any replica."""

    async def apply(self, *things: ArksToken | ArksQuota) -> None:
        for thing in things:
            await LocalResources(self.home.bus, type(thing)).apply(thing)

    async def admit(self, key: str = "sk-tom", model: str = "qwen", **headers: str) -> httpx.Response:
        sent = {
            "authorization": f"Bearer {key}",
            "x-arks-request-id": f"request-{next(self.numbers)}",
            "x-arks-model": model,
            "x-arks-operation": "completions",
            "x-arks-body-bytes": "40",
            "x-arks-max-tokens": "20",
        }
        answer = await self.api.post("/v1/admit", headers=sent | headers)
        if answer.status_code == 200:
            self.granted.append(sent["x-arks-request-id"])
        return answer

    async def admitted(self, **headers: str) -> httpx.Response:
        """The first grant: what was applied takes a few milliseconds to arrive."""

        async def granted() -> httpx.Response | None:
            answer = await self.admit(**headers)
            return answer if answer.status_code == 200 else None

        found = await eventually(granted, what="a grant")
        assert found is not None
        return found

    def log(self, answer: httpx.Response, usage: str) -> None:
        """What Envoy writes when this granted request ends."""
        path = self.directory / "usage" / "usage.log"
        path.parent.mkdir(exist_ok=True)
        sent = answer.request.headers["x-arks-request-id"]
        now = self.home.clock.now().timestamp()
        with path.open("a") as file:
            file.write(LINE.format(id=sent, start=now, grant=answer.headers["x-arks-grant"], usage=usage))

    async def usage(self) -> dict[str, Any]:
        found: dict[str, Any] = (await self.api.get("/v1/usage")).json()
        return found

    async def used(self, requests: int) -> dict[str, Any]:
        """Sums once so many requests are in the ledger and none is open."""

        async def settled() -> dict[str, Any] | None:
            found = await self.usage()
            done = found["total"]["requests"] == requests and found["openReservations"] == 0
            return found if done else None

        found = await eventually(settled, within_seconds=60, what=f"{requests} settled requests")
        assert found is not None
        return cast("dict[str, Any]", found)

    def service(self, **changes: object) -> App:
        settings = TokenQuotaSettings(**(self.settings | changes))
        return build(settings, LocalHome("token-quota", settings))

    def shipper(self) -> App:
        settings = ShipperSettings(**(self.settings | {"envoy_admin_port": free_port()}))
        return build_shipper(settings, LocalHome("usage-shipper", settings))


@pytest_asyncio.fixture
async def arks(nats: Server, valkey: Server, tmp_path: Path) -> AsyncIterator[Arks]:
    (tmp_path / "pepper").write_bytes(PEPPER)
    (tmp_path / "redis-password").write_text(valkey.password)
    settings = {
        "nats_url": f"nats://127.0.0.1:{nats.port}",
        "redis_url": f"redis://127.0.0.1:{valkey.port}",
        "redis_password_file": tmp_path / "redis-password",
        "state_dir": tmp_path,
        "api_port": free_port(),
        "drain_seconds": 0.5,
        "sweep_seconds": 0.05,
        "quota_status_seconds": 0.05,
    }
    home = LocalHome("test", TokenQuotaSettings(**settings))  # type: ignore[arg-type]
    await home.start()
    endpoints = home.fact_writer(Facts.ENDPOINTS, EndpointFact)
    writing = asyncio.create_task(endpoints.run())
    endpoints.put(Key("team", "qwen"), EndpointFact(namespace="team", name="qwen", ready=True))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{settings['api_port']}", timeout=30) as api:
        yield Arks(settings, home, api, tmp_path)
    writing.cancel()
    await home.stop()


def tom(**limits: Any) -> ArksToken:
    """Keys are stored as hashes on one machine."""
    return token(key=None, tokenHash=hash_key(PEPPER, "sk-tom"), **limits)


CHARGED = [{"arksEndpoint": {"name": "qwen"}, "quota": {"name": "q"}}]


async def test_usage_in_the_log_reaches_ledger_and_quota_status(arks: Arks) -> None:
    async with running(arks.service()), running(arks.shipper()):
        await arks.apply(quota(total=10_000), tom(qos=CHARGED))
        answers = [await arks.admitted()] + [await arks.admit() for _ in range(4)]
        for answer, usage in zip(answers, ("e,7,5", "e,9,20", "d,3", "-", "e,1,1"), strict=True):
            arks.log(answer, usage)
        found = await arks.used(5)
        assert (7 + 9 + 10 + 10 + 1, 5 + 20 + 3 + 20 + 1) == (
            found["total"]["promptTokens"],
            found["total"]["completionTokens"],
        )
        assert {"engine": 3, "delivered": 1, "reservation": 1} == {
            source: part["requests"] for source, part in found["items"][0]["bySource"].items()
        }

        async def used_in_status() -> list[int]:
            stored = await LocalResources(arks.home.bus, ArksQuota).read(Key("team", "q"))
            assert stored is not None
            return [usage.used for usage in stored.status.quota_status] if stored.status else []

        assert [86] == await eventually(lambda: _is(used_in_status, [86]), what="status of the quota")


async def _is(query: Any, expected: Any) -> Any:
    found = await query()
    return found if found == expected else None


async def test_the_official_client_sees_its_models(arks: Arks) -> None:
    async with running(arks.service()):
        await arks.apply(tom())
        await arks.admitted()
        base = f"{arks.api.base_url}/v1"
        async with openai.AsyncOpenAI(base_url=base, api_key="sk-tom", max_retries=0) as client:
            assert ["qwen"] == [model.id async for model in client.models.list()]
            assert "qwen" == (await client.models.retrieve("qwen")).id
            with pytest.raises(openai.NotFoundError):
                await client.models.retrieve("gpt-5")
        async with openai.AsyncOpenAI(base_url=base, api_key="wrong", max_retries=0) as client:
            with pytest.raises(openai.AuthenticationError):
                await client.models.list()


async def test_a_revoked_key_is_refused_at_once(arks: Arks) -> None:
    async with running(arks.service()):
        await arks.apply(tom())
        await arks.admitted()
        await LocalResources(arks.home.bus, ArksToken).delete(Key("team", "tom"))

        async def refused() -> bool:
            return (await arks.admit()).status_code == 401

        await eventually(refused, within_seconds=5, what="the refusal")


async def test_a_restarted_service_answers_its_first_request_fully_informed(arks: Arks) -> None:
    async with running(arks.service()):
        await arks.apply(quota(total=10_000), tom(qos=CHARGED))
        await arks.admitted()
    async with running(arks.service()):
        assert 200 == (await arks.admit()).status_code

        async def ready() -> bool:
            stored = await LocalResources(arks.home.bus, ArksToken).read(Key("team", "tom"))
            return stored is not None and stored.status is not None and is_true(stored.status.conditions, "Ready")

        await eventually(ready, what="the token's status")


async def test_a_wiped_redis_neither_frees_nor_double_charges_a_budget(arks: Arks, valkey: Server) -> None:
    async with running(arks.service()), running(arks.shipper()):
        await arks.apply(quota(total=100), tom(qos=CHARGED))
        arks.log(await arks.admitted(), "e,30,30")
        await arks.used(1)
        await valkey.kill()
        assert 503 == (await arks.admit()).status_code
        await valkey.restart()

        async def refused() -> httpx.Response | None:
            answer = await arks.admit(**{"x-arks-max-tokens": "31"})
            return answer if answer.status_code == 429 else None

        answer = await eventually(refused, what="the budget is known again")
        assert answer is not None
        assert 60 == answer.json()["error"]["details"][0]["used"]
        assert 200 == (await arks.admit(**{"x-arks-max-tokens": "30"})).status_code


async def test_usage_that_ends_while_redis_is_away_is_counted_when_it_is_back(arks: Arks, valkey: Server) -> None:
    async with running(arks.service()), running(arks.shipper()):
        await arks.apply(quota(total=100), tom(qos=CHARGED))
        answer = await arks.admitted()
        await valkey.kill()
        arks.log(answer, "e,30,30")

        async def posted() -> bool:
            return bool((await arks.usage())["total"]["requests"] == 1)

        await eventually(posted, what="the ledger has it without Redis")
        await valkey.restart()

        async def refused() -> bool:
            return (await arks.admit(**{"x-arks-max-tokens": "31"})).status_code == 429

        await eventually(refused, what="the counters have it too")


async def test_while_redis_is_away_rate_limited_tokens_pass(arks: Arks, valkey: Server) -> None:
    limits = [{"arksEndpoint": {"name": "qwen"}, "rateLimits": [{"type": "rpm", "value": 1000}]}]
    async with running(arks.service()):
        await arks.apply(tom(qos=limits))
        await arks.admitted()
        await valkey.kill()
        assert 200 == (await arks.admit()).status_code


async def test_a_request_without_usage_is_charged_and_corrected_by_a_late_record(arks: Arks) -> None:
    async with running(arks.service(reservation_seconds=0.2)), running(arks.shipper()):
        await arks.apply(tom())
        answer = await arks.admitted()
        found = await arks.used(1)
        assert (10, 20) == (found["total"]["promptTokens"], found["total"]["completionTokens"])
        arks.log(answer, "e,3,4")

        async def corrected() -> bool:
            total = (await arks.usage())["total"]
            return bool((total["requests"], total["promptTokens"], total["completionTokens"]) == (1, 3, 4))

        await eventually(corrected, what="the correction")


async def test_a_dead_nats_loses_no_usage(arks: Arks, nats: Server) -> None:
    async with running(arks.service()), running(arks.shipper()):
        await arks.apply(tom())
        first = await arks.admitted()
        await nats.kill()
        for answer in [first] + [await arks.admit() for _ in range(9)]:
            arks.log(answer, "e,1,1")
        await nats.restart()
        assert 10 == (await arks.used(10))["total"]["promptTokens"]


async def test_clients_in_parallel_through_two_replicas_never_pass_a_request_limit(arks: Arks) -> None:
    limits = [{"arksEndpoint": {"name": "qwen"}, "rateLimits": [{"type": "rpd", "value": 25}]}]
    port = free_port()
    async with running(arks.service()), running(arks.service(api_port=port)):
        await arks.apply(tom(qos=limits))
        await arks.admitted()
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as other:
            both = [arks, Arks(arks.settings, arks.home, other, arks.directory, arks.numbers, arks.granted)]

            async def known() -> bool:
                return (await both[1].admit()).status_code != 401

            await eventually(known, what="the other replica knows the key")
            answers = await asyncio.gather(*(both[n % 2].admit() for n in range(80)))
    assert {200, 429} == {answer.status_code for answer in answers}
    assert all("retry-after" in answer.headers for answer in answers if answer.status_code == 429)
    assert 25 == len(arks.granted)
