"""The whole service with its meter and its shipper on real NATS, Valkey, SQLite and granian: from a line in the log to
the ledger.
"""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import httpx
import openai
import pytest
import pytest_asyncio
import redis.asyncio

from arks.contracts.conditions import is_true
from arks.contracts.resources import ArksQuota, ArksToken, hash_key
from arks.contracts.subjects import Facts
from arks.events.v1.facts_pb2 import EndpointFact, RoutedReplica, ScalingFact
from arks.kit.app import App
from arks.kit.facts import FactWriter
from arks.kit.home import LocalHome
from arks.kit.key import Key
from arks.kit.ports import free_port
from arks.kit.resources import LocalResources
from arks.kit.tasks import cancel
from arks.kit.testing.run import running
from arks.kit.testing.servers import Server
from arks.kit.testing.wait import eventually
from arks.token_quota.config import MeterSettings, ShipperSettings, TokenQuotaSettings
from arks.token_quota.domain.lease import NO_LEASE
from arks.token_quota.main import build
from arks.token_quota.programs.meter import build as build_meter
from arks.token_quota.programs.shipper.__main__ import build as build_shipper
from arks.token_quota.testing.api import watched_callers
from arks.token_quota.testing.fakes import PEPPER, quota, token

pytestmark = pytest.mark.real

ANSWER = (532, 41, 200, "-", 1, "127.0.0.1:9001", "completions", False)
as_json = json.JSONEncoder(separators=(",", ":")).encode


@dataclass
class TokenQuotaHarness:
    settings: dict[str, Any]
    home: LocalHome
    api: httpx.AsyncClient
    directory: Path
    endpoints: FactWriter[EndpointFact]
    scaling: FactWriter[ScalingFact]
    numbers: "itertools.count[int]" = field(default_factory=itertools.count)
    granted: list[str] = field(default_factory=list)
    """Ids of all requests that were granted, through any replica."""

    async def apply(self, *things: ArksToken | ArksQuota) -> None:
        for thing in things:
            await LocalResources(self.home.bus, type(thing)).apply(thing)

    async def admit(
        self, key: str = "sk-tom", model: str = "qwen", path: str = "/v1/admit", **headers: str
    ) -> httpx.Response:
        sent = self.headers(key, model)
        answer = await self.api.post(path, headers=sent | headers)
        if answer.status_code == 200:
            self.granted.append(sent["x-arks-request-id"])
            self._log_start(answer)
        return answer

    def headers(self, key: str = "sk-tom", model: str = "qwen") -> dict[str, str]:
        """Those of a new request's admission."""
        return {
            "authorization": f"Bearer {key}",
            "x-arks-request-id": f"request-{next(self.numbers)}",
            "x-arks-gateway": "gateway",
            "x-arks-model": model,
            "x-arks-operation": "completions",
            "x-arks-body-bytes": "40",
            "x-arks-max-tokens": "20",
        }

    async def admit_before_leases(self) -> httpx.Response:
        """The call of a gateway of 0.1.0."""
        headers = self.headers()
        del headers["x-arks-gateway"]
        return await self.api.post("/v1/admit", headers=headers)

    async def admitted(self, **headers: str) -> httpx.Response:
        """The first grant: what was applied takes a few milliseconds to arrive."""

        async def granted() -> httpx.Response | None:
            answer = await self.admit(**headers)
            return answer if answer.status_code == 200 else None

        found = await eventually(granted, what="a grant")
        assert found is not None
        return found

    def _log_start(self, answer: httpx.Response) -> None:
        """What Envoy's filter writes when it admits this request and gets its lease."""
        namespace, endpoint, token_name, lease, prompt, completion = answer.headers["x-arks-grant"].split("/")
        requests, *tokens, milliseconds, _ = map(int, answer.headers["x-arks-lease"].split(","))
        now = int(self.home.clock.timestamp() * 1000)
        amount = (requests + 1, int(prompt) + tokens[0], int(completion) + tokens[1])
        columns = ("L", lease, now + milliseconds, *amount, f"{namespace}/{endpoint}/{token_name}")
        lines: list[tuple[object, ...]] = [columns] if lease != NO_LEASE else []
        request_id = answer.request.headers["x-arks-request-id"]
        lines.append(("S", request_id, lease, int(prompt), int(completion), "completions", now))
        self._append("usage.log.starts", "".join(f"{as_json(line)}\n" for line in lines))

    def log(self, answer: httpx.Response, *usage: str | int) -> None:
        """What Envoy writes when this granted request ends."""
        request_id = answer.request.headers["x-arks-request-id"]
        now = int(self.home.clock.timestamp() * 1000)
        grant, prompt, completion = answer.headers["x-arks-grant"].rsplit("/", 2)
        line = ("E", request_id, now, *ANSWER, grant, int(prompt), int(completion), *usage)
        self._append("usage.log", f"\n{as_json(line)}\n")

    def _append(self, name: str, text: str) -> None:
        path = self.directory / "usage" / name
        path.parent.mkdir(exist_ok=True)
        with path.open("a") as file:
            file.write(text)

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

    def meter(self, **changes: object) -> App:
        settings = MeterSettings(**(self.settings | changes))
        return build_meter(settings, LocalHome("usage-meter", settings))

    def shipper(self) -> App:
        settings = ShipperSettings(**(self.settings | {"envoy_admin_port": free_port()}))
        return build_shipper(settings, LocalHome("usage-shipper", settings))


@pytest_asyncio.fixture
async def harness(nats: Server, valkey: Server, tmp_path: Path) -> AsyncIterator[TokenQuotaHarness]:
    (tmp_path / "pepper").write_bytes(PEPPER)
    (tmp_path / "redis-password").write_text(valkey.password)
    settings: dict[str, Any] = {
        "nats_url": f"nats://127.0.0.1:{nats.port}",
        "redis_url": f"redis://127.0.0.1:{valkey.port}",
        "redis_password_file": tmp_path / "redis-password",
        "state_dir": tmp_path,
        "api_port": free_port(),
        "drain_seconds": 0.5,
        "sweep_seconds": 0.05,
        "quota_status_seconds": 0.05,
    }
    home = LocalHome("test", TokenQuotaSettings(**settings))
    await home.start()
    endpoints = home.fact_writer(Facts.ENDPOINTS, EndpointFact)
    scaling = home.fact_writer(Facts.SCALING, ScalingFact)
    writing = [asyncio.create_task(writer.run()) for writer in (endpoints, scaling)]
    endpoints.put(Key("team", "qwen"), EndpointFact(namespace="team", name="qwen", ready=True))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{settings['api_port']}", timeout=30) as api:
        yield TokenQuotaHarness(settings, home, api, tmp_path, endpoints, scaling)
    for task in writing:
        await cancel(task)
    await home.stop()


def tom(**limits: Any) -> ArksToken:
    """Keys are stored as hashes on one machine."""
    return token(key=None, tokenHash=hash_key(PEPPER, "sk-tom"), **limits)


CHARGED = [{"arksEndpoint": {"name": "qwen"}, "quota": {"name": "q"}}]


async def test_usage_in_the_log_reaches_ledger_and_quota_status(harness: TokenQuotaHarness) -> None:
    async with running(harness.service()), running(harness.meter()), running(harness.shipper()):
        await harness.apply(quota(total=10_000), tom(qos=CHARGED))
        answers = [await harness.admitted()] + [await harness.admit() for _ in range(4)]
        for answer, usage in zip(answers, (("e", 7, 5), ("e", 9, 20), ("d", 3), ("-",), ("e", 1, 1)), strict=True):
            harness.log(answer, *usage)
        found = await harness.used(5)
        assert (7 + 9 + 10 + 10 + 1, 5 + 20 + 3 + 20 + 1) == (
            found["total"]["promptTokens"],
            found["total"]["completionTokens"],
        )
        assert {"engine": 3, "delivered": 1, "reservation": 1} == {
            source: part["requests"] for source, part in found["items"][0]["bySource"].items()
        }

        async def used_in_status() -> list[int]:
            stored = await LocalResources(harness.home.bus, ArksQuota).read(Key("team", "q"))
            assert stored is not None
            return [usage.used for usage in stored.status.quota_status] if stored.status else []

        assert [86] == await eventually(lambda: _is(used_in_status, [86]), what="status of the quota")


async def _is(query: Any, expected: Any) -> Any:
    found = await query()
    return found if found == expected else None


async def test_a_request_of_a_gateway_of_the_first_release_counts_once(harness: TokenQuotaHarness) -> None:
    """Its own shipper publishes a record for each request."""
    limits = [{"arksEndpoint": {"name": "qwen"}, "rateLimits": [{"type": "rpd", "value": 3}]}]
    async with running(harness.service()), running(harness.meter()):
        await harness.apply(tom(qos=limits))

        async def remaining(number: str) -> str | None:
            """The grant, once so many more requests pass after it."""
            answer = await harness.admit_before_leases()
            found = answer.headers.get("x-ratelimit-remaining-requests") == number
            return answer.headers["x-arks-grant"] if found else None

        assert "team/qwen/tom/10/20" == await eventually(lambda: remaining("2"), what="a grant")
        record = {"requestId": "r1", "namespace": "team", "token": "tom", "endpoint": "qwen", "promptTokens": "7"}
        record |= {"source": "USAGE_SOURCE_ENGINE", "startedAt": harness.home.clock.now().isoformat()}
        await harness.home.bus.jetstream.publish("arks.usage.team.tom", json.dumps(record).encode())
        await eventually(lambda: remaining("1"), what="the charge in the counters")
        await harness.used(1)
        assert [200, 200, 429] == [(await harness.admit()).status_code for _ in range(3)]


async def test_a_quota_edit_with_an_equal_budget_is_observed_in_status(harness: TokenQuotaHarness) -> None:
    async with running(harness.service()):
        stored = LocalResources(harness.home.bus, ArksQuota)

        async def observed_generation() -> int | None:
            found = await stored.read(Key("team", "q"))
            return found.status.observed_generation if found is not None and found.status is not None else None

        await harness.apply(quota(prompt=100, total=1000))
        await eventually(lambda: _is(observed_generation, 1), what="status of the new quota")
        await harness.apply(quota(total=1000, prompt=100))
        await eventually(lambda: _is(observed_generation, 2), what="status of the edited quota")


async def test_the_official_client_sees_its_models(harness: TokenQuotaHarness) -> None:
    async with running(harness.service()):
        await harness.apply(tom())
        await harness.admitted()
        base = f"{harness.api.base_url}/v1"
        async with openai.AsyncOpenAI(base_url=base, api_key="sk-tom", max_retries=0) as client:
            assert ["qwen"] == [model.id async for model in client.models.list()]
            assert "qwen" == (await client.models.retrieve("qwen")).id
            with pytest.raises(openai.NotFoundError):
                await client.models.retrieve("gpt-5")
        async with openai.AsyncOpenAI(base_url=base, api_key="wrong", max_retries=0) as client:
            with pytest.raises(openai.AuthenticationError):
                await client.models.list()


async def test_requests_for_an_endpoint_at_zero_wait_for_its_replica_or_the_end_of_their_client(
    harness: TokenQuotaHarness,
) -> None:
    endpoint, scaler = Key("team", "qwen"), Key("team", "scaler")
    harness.endpoints.put(endpoint, EndpointFact(namespace="team", name="qwen", ready=False))
    harness.scaling.put(scaler, ScalingFact(namespace="team", served_model="qwen", start_seconds=20.0))

    async def held() -> bool:
        answer = await harness.admit()
        return answer.status_code == 202 and "300000" == answer.headers["x-arks-wait"]

    async def refused() -> bool:
        answer = await harness.admit()
        return answer.status_code == 503 and "20" == answer.headers["retry-after"]

    async with running(harness.service(held_requests_per_endpoint=1)):
        await harness.apply(tom())
        await eventually(held, what="an answer that holds the request")
        assert 503 == (await harness.admit_before_leases()).status_code, "such a gateway cannot wait"
        hangs_up = asyncio.create_task(harness.admit(path="/v1/wait"))
        await eventually(refused, what="no room for a second one")
        await cancel(hangs_up)
        await eventually(held, what="room again after the client has left")
        waits = asyncio.create_task(harness.admit(path="/v1/wait"))
        await eventually(refused, what="no room for a second one")
        replica = RoutedReplica(application="app", name="app-0", weight=1)
        harness.endpoints.put(endpoint, EndpointFact(namespace="team", name="qwen", ready=True, replicas=[replica]))
        assert (await waits).headers["x-arks-grant"].startswith("team/qwen/tom/")


async def test_a_hang_up_during_admission_returns_its_reservation_at_once(
    harness: TokenQuotaHarness, valkey: Server
) -> None:
    password = (harness.directory / "redis-password").read_text()
    async with running(harness.service()), redis.asyncio.Redis(port=valkey.port, password=password) as client:
        await harness.apply(tom(qos=[{"arksEndpoint": {"name": "qwen"}, "rateLimits": [{"type": "rpd", "value": 2}]}]))
        await harness.admitted()
        await client.client_pause(60_000, all=False)  # ended below: it would end too early on a slow machine
        hangs_up = asyncio.create_task(harness.admit())
        await eventually(watched_callers, what="a call that takes long")
        await cancel(hangs_up)
        await eventually(lambda: not watched_callers(), what="the end of its connection")
        await client.client_unpause()

        async def passes() -> bool:
            return (await harness.admit()).status_code == 200

        await eventually(passes, within_seconds=5, what="a request in the place of the one that hung up")
        assert not await passes()


async def test_a_revoked_key_is_refused_at_once(harness: TokenQuotaHarness) -> None:
    async with running(harness.service()):
        await harness.apply(tom())
        await harness.admitted()
        await LocalResources(harness.home.bus, ArksToken).delete(Key("team", "tom"))

        async def refused() -> bool:
            return (await harness.admit()).status_code == 401

        await eventually(refused, within_seconds=5, what="the refusal")


async def test_a_restarted_service_answers_its_first_request_fully_informed(harness: TokenQuotaHarness) -> None:
    async with running(harness.service()):
        await harness.apply(quota(total=10_000), tom(qos=CHARGED))
        await harness.admitted()
    async with running(harness.service()):
        assert 200 == (await harness.admit()).status_code

        async def ready() -> bool:
            stored = await LocalResources(harness.home.bus, ArksToken).read(Key("team", "tom"))
            return stored is not None and stored.status is not None and is_true(stored.status.conditions, "Ready")

        await eventually(ready, what="the token's status")


async def test_a_wiped_redis_neither_frees_nor_double_charges_a_budget(
    harness: TokenQuotaHarness, valkey: Server
) -> None:
    async with running(harness.service()), running(harness.meter()), running(harness.shipper()):
        await harness.apply(quota(total=100), tom(qos=CHARGED))
        harness.log(await harness.admitted(), "e", 30, 30)
        await harness.used(1)
        await valkey.kill()
        assert 503 == (await harness.admit()).status_code
        await valkey.restart()

        async def refused() -> httpx.Response | None:
            answer = await harness.admit(**{"x-arks-max-tokens": "31"})
            return answer if answer.status_code == 429 else None

        answer = await eventually(refused, what="the budget is known again")
        assert answer is not None
        assert 60 == answer.json()["error"]["details"][0]["used"]
        assert 200 == (await harness.admit(**{"x-arks-max-tokens": "30"})).status_code


async def test_usage_that_ends_while_redis_is_away_is_counted_when_it_is_back(
    harness: TokenQuotaHarness, valkey: Server
) -> None:
    async with running(harness.service()), running(harness.meter()), running(harness.shipper()):
        await harness.apply(quota(total=100), tom(qos=CHARGED))
        answer = await harness.admitted()
        await valkey.kill()
        harness.log(answer, "e", 30, 30)

        async def posted() -> bool:
            return bool((await harness.usage())["total"]["requests"] == 1)

        await eventually(posted, what="the ledger has it without Redis")
        await valkey.restart()

        async def refused() -> bool:
            return (await harness.admit(**{"x-arks-max-tokens": "31"})).status_code == 429

        await eventually(refused, what="the counters have it too")


async def test_while_redis_is_away_rate_limited_tokens_pass(harness: TokenQuotaHarness, valkey: Server) -> None:
    limits = [{"arksEndpoint": {"name": "qwen"}, "rateLimits": [{"type": "rpm", "value": 1000}]}]
    async with running(harness.service()):
        await harness.apply(tom(qos=limits))
        await harness.admitted()
        await valkey.kill()
        assert 200 == (await harness.admit()).status_code


async def test_a_request_without_usage_is_charged_and_corrected_by_a_late_record(harness: TokenQuotaHarness) -> None:
    async with running(harness.service()), running(harness.meter(reservation_seconds=0.2)), running(harness.shipper()):
        await harness.apply(tom())
        answer = await harness.admitted()
        found = await harness.used(1)
        assert (10, 20) == (found["total"]["promptTokens"], found["total"]["completionTokens"])
        harness.log(answer, "e", 3, 4)

        async def corrected() -> bool:
            total = (await harness.usage())["total"]
            return bool((total["requests"], total["promptTokens"], total["completionTokens"]) == (1, 3, 4))

        await eventually(corrected, what="the correction")


async def test_a_dead_nats_loses_no_usage(harness: TokenQuotaHarness, nats: Server) -> None:
    async with running(harness.service()), running(harness.meter()), running(harness.shipper()):
        await harness.apply(tom())
        first = await harness.admitted()
        await nats.kill()
        for answer in [first] + [await harness.admit() for _ in range(9)]:
            harness.log(answer, "e", 1, 1)
        await nats.restart()
        assert 10 == (await harness.used(10))["total"]["promptTokens"]


async def test_the_unused_rest_of_a_lease_returns(harness: TokenQuotaHarness) -> None:
    limits = [{"arksEndpoint": {"name": "qwen"}, "rateLimits": [{"type": "rpd", "value": 1000}]}]
    async with running(harness.service()), running(harness.meter()), running(harness.shipper()):
        await harness.apply(tom(qos=limits))
        answer = await harness.admitted(**{"x-arks-demand": "50,500,1000"})
        assert "50,500,1000" == answer.headers["x-arks-lease"].rsplit(",", 2)[0]
        assert "949" == answer.headers["x-ratelimit-remaining-requests"]
        harness.log(answer, "e", 1, 1)
        await harness.used(1)
        assert "998" == (await harness.admit()).headers["x-ratelimit-remaining-requests"]


async def test_clients_in_parallel_through_two_replicas_never_pass_a_request_limit(harness: TokenQuotaHarness) -> None:
    limits = [{"arksEndpoint": {"name": "qwen"}, "rateLimits": [{"type": "rpd", "value": 25}]}]
    port = free_port()
    async with running(harness.service()), running(harness.service(api_port=port)):
        await harness.apply(tom(qos=limits))
        await harness.admitted()
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as other:
            both = [
                harness,
                replace(harness, api=other),
            ]

            async def known() -> bool:
                return (await both[1].admit()).status_code != 401

            await eventually(known, what="the other replica knows the key")
            answers = await asyncio.gather(*(both[n % 2].admit() for n in range(80)))
    assert {200, 429} == {answer.status_code for answer in answers}
    assert all("retry-after" in answer.headers for answer in answers if answer.status_code == 429)
    assert 25 == len(harness.granted)
