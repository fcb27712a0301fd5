import asyncio
from typing import cast

import pytest

from arks.contracts.gateway_token import TokenGate
from arks.contracts.usage import UsageSource
from arks.events.v1.facts_pb2 import EndpointAffinity
from arks.kit.testing.clock import FakeClock
from arks.kit.testing.wait import eventually
from arks.token_quota.adapters.ledger import SqlLedger
from arks.token_quota.api.app import Api, Gates, read_admit_request, read_usage_query
from arks.token_quota.domain.answers import Rejection
from arks.token_quota.domain.batch import UsageBatch, UsageRecord
from arks.token_quota.domain.lease import LeaseAmount
from arks.token_quota.domain.time import Moment
from arks.token_quota.service.admission import AdmitRequest
from arks.token_quota.service.ports.ledger import Ledger, UsageFilter
from arks.token_quota.testing.api import ADMIT, KEY, Headers, Request, Response, SlowCounters, make, watched_callers
from arks.token_quota.testing.fakes import BrokenLedger, FakeCounters, Harness, token

START = 1_767_225_600_000


async def post(ledger: SqlLedger, *usages: tuple[UsageSource, int, int]) -> None:
    """Source, prompt and completion tokens of each request."""
    records = [
        UsageRecord(f"r{n}", "tom", "qwen", "completions", source.message_name, START, prompt, completion)
        for n, (source, prompt, completion) in enumerate(usages)
    ]
    await ledger.post([UsageBatch("b1", "gw", "team", 0, records)], lambda *_: "q", Moment(START))


@pytest.fixture
def api(harness: Harness, counters: FakeCounters, ledger: SqlLedger, clock: FakeClock) -> Api:
    return make(harness, counters, ledger, clock)


async def call_api(
    api: Api, path: str, method: str = "GET", headers: dict[str, str] | None = None, query: str = ""
) -> Response:
    response = Response()
    await api.__rsgi__(Request(path, method, Headers(headers or {}), query), response)
    return response


async def test_a_grant_is_headers_without_a_body(api: Api, harness: Harness, counters: FakeCounters) -> None:
    harness.add(token())
    harness.endpoint()
    found = await call_api(api, "/v1/admit", "POST", ADMIT | {"x-arks-demand": "7,70,140"})
    assert (200, b"") == (found.status, found.body)
    assert {
        "x-arks-cluster": "team/qwen",
        "x-arks-grant": f"team/qwen/tom/{counters.granted[0].lease}/100/512",
        "x-arks-lease": "420,4200,8400,60000,512",
        "x-arks-outage": "pass",
    } == found.headers


async def test_a_lease_that_follows_one_until_the_minute_ends_begins_with_the_next(
    api: Api, harness: Harness, counters: FakeCounters, clock: FakeClock
) -> None:
    harness.add(token(qos=[{"arksEndpoint": {"name": "qwen"}, "rateLimits": [{"type": "rpm", "value": 10_000}]}]))
    harness.endpoint()
    clock.advance(60 - clock.timestamp() % 60 - 5)
    follows = ADMIT | {"x-arks-demand": "7,70,140", "x-arks-remaining": "4998"}
    found = await call_api(api, "/v1/admit", "POST", follows)
    assert ("5000", "77,779,1559,11142,512", "1m0s") == tuple(
        found.headers[name] for name in ("x-arks-begins", "x-arks-lease", "x-ratelimit-reset-requests")
    )
    assert 5000 == counters.granted[0].begins_in_milliseconds
    before = await call_api(api, "/v1/admit", "POST", follows | {"x-arks-remaining": "3000"})
    assert "x-arks-begins" not in before.headers


async def start_admissions(api: Api, number: int) -> list[tuple[Response, asyncio.Task[None]]]:
    """Calls for the same request, once each is watched."""
    calls = []
    for _ in range(number):
        response = Response()
        request = Request("/v1/admit", "POST", Headers(ADMIT | {"x-arks-request-id": "r1"}), "")
        calls.append((response, asyncio.create_task(api.__rsgi__(request, response))))
    await eventually(lambda: watched_callers() == number, what="calls that are watched")
    return calls


@pytest.mark.parametrize(
    ("gone", "returned"), [((True,), True), ((False,), False), ((True, False), False), ((True, True), True)]
)
async def test_a_grant_whose_callers_are_gone_returns_at_once(
    harness: Harness, ledger: SqlLedger, clock: FakeClock, gone: tuple[bool, ...], returned: bool
) -> None:
    counters = SlowCounters()
    api = make(harness, counters, ledger, clock)
    harness.add(token())
    harness.endpoint()
    calls = await start_admissions(api, len(gone))
    for (response, _), is_gone in zip(calls, gone, strict=True):
        if is_gone:
            response.gone.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    counters.grants.set()
    await asyncio.gather(*(call for _, call in calls))
    assert [0 if is_gone else 200 for is_gone in gone] == [response.status for response, _ in calls]
    assert [("team", counters.granted[0].lease)] * returned == counters.unsent_leases


async def test_while_counters_are_away_a_grant_has_no_lease(api: Api, harness: Harness, counters: FakeCounters) -> None:
    harness.add(token())
    harness.endpoint()
    counters.away = True
    found = await call_api(api, "/v1/admit", "POST", ADMIT | {"x-arks-demand": "7,70,140"})
    assert ("team/qwen/tom/-/100/512", "0,0,0,0,512", "pass") == tuple(
        found.headers[name] for name in ("x-arks-grant", "x-arks-lease", "x-arks-outage")
    )


async def test_a_token_that_rejects_without_limits_is_granted_with_refuse(api: Api, harness: Harness) -> None:
    limits = [{"arksEndpoint": {"name": "qwen"}, "rateLimits": [{"type": "rpm", "value": 5}]}]
    harness.add(token(qos=limits, failurePolicy={"rates": "Closed"}))
    harness.endpoint()
    found = await call_api(api, "/v1/admit", "POST", ADMIT)
    assert ("refuse", "4") == (found.headers["x-arks-outage"], found.headers["x-ratelimit-remaining-requests"])


async def test_changes_confirm_leases_or_name_those_that_ended(
    api: Api, harness: Harness, counters: FakeCounters, clock: FakeClock
) -> None:
    query = {"x-arks-since": "1000", "x-arks-life": "life1"}

    async def changes(**more: str) -> tuple[int, str | None, str | None]:
        found = await call_api(api, "/v1/changes", "POST", query | more)
        return found.status, found.headers.get("x-arks-life"), found.headers.get("x-arks-ended")

    clock.advance(10)
    assert (200, "life1", "-") == await changes()
    harness.add(token())
    harness.endpoint()
    assert (200, "life1", "endpoint:team/qwen token:team/tom") == await changes()
    for number in range(150):
        harness.add(token(f"t{number}", f"sk-{number}", namespace="busy"))
    known = {"x-arks-scopes": "namespace"}
    assert (200, "life1", "endpoint:team/qwen namespace:busy token:team/tom") == await changes(**known)
    assert (200, "life1", "*") == await changes()
    counters.life_id = "life2"
    assert (200, "life2", "*") == await changes()
    assert 400 == (await changes(**{"x-arks-since": "long"}))[0]
    counters.away = True
    assert (503, None, None) == await changes()


async def test_a_rejection_carries_how_long_the_filter_may_repeat_it(api: Api, harness: Harness) -> None:
    assert "1000,key" == (await call_api(api, "/v1/admit", "POST", ADMIT)).headers["x-arks-refusal"]
    harness.add(token())
    assert "1000,model" == (await call_api(api, "/v1/admit", "POST", ADMIT)).headers["x-arks-refusal"]
    harness.endpoint(ready=False)
    assert "100,model" == (await call_api(api, "/v1/admit", "POST", ADMIT)).headers["x-arks-refusal"]
    harness.endpoint()
    found = await call_api(api, "/v1/admit", "POST", ADMIT | {"x-arks-n": "0"})
    assert (400, False) == (found.status, "x-arks-refusal" in found.headers)


async def test_a_rejection_by_a_limit_carries_when_its_window_ends(api: Api, harness: Harness) -> None:
    limits = [{"arksEndpoint": {"name": "qwen"}, "rateLimits": [{"type": "rpm", "value": 0}]}]
    harness.add(token(qos=limits))
    harness.endpoint()
    found = await call_api(api, "/v1/admit", "POST", ADMIT)
    assert ("1000,model", "60000") == (found.headers["x-arks-refusal"], found.headers["x-arks-window"])


async def test_a_key_is_checked_without_a_request(api: Api, harness: Harness) -> None:
    found = await call_api(api, "/v1/key", "POST", KEY)
    assert (401, "1000,key", "invalid_api_key") == (
        found.status,
        found.headers["x-arks-refusal"],
        found.json["error"]["code"],
    )
    harness.add(token())
    found = await call_api(api, "/v1/key", "POST", KEY)
    assert (204, {"x-arks-valid-milliseconds": "1000"}, b"") == (found.status, found.headers, found.body)


async def test_clients_do_not_get_the_filters_headers(api: Api) -> None:
    found = await call_api(api, "/v1/models", headers=KEY)
    assert (401, []) == (found.status, [name for name in found.headers if name.startswith("x-arks")])


async def test_a_refusal_is_the_final_answer(api: Api) -> None:
    found = await call_api(api, "/v1/admit", "POST", ADMIT)
    assert (401, "application/json", "invalid_api_key") == (
        found.status,
        found.headers["content-type"],
        found.json["error"]["code"],
    )


async def test_the_numbers_and_the_name_of_the_model_are_read_from_headers() -> None:
    more = {"x-arks-max-tokens": "7", "x-arks-n": "2", "x-arks-model": "caf%C3%A9%25", "x-arks-demand": "5000,6,7"}
    expected = AdmitRequest("Bearer sk-tom", "gw", "café%", "chat.completions", 400, 7, 2, LeaseAmount(4096, 6, 7))
    assert expected == read_admit_request(Headers(ADMIT | more))


@pytest.mark.parametrize(
    ("name", "value", "param"),
    [
        ("x-arks-max-tokens", "-1", "max_tokens"),
        ("x-arks-max-tokens", "1e3", "max_tokens"),
        ("x-arks-max-tokens", "99999999999999", "max_tokens"),
        ("x-arks-max-tokens", "٣", "max_tokens"),
        ("x-arks-n", "0", "n"),
        ("x-arks-n", "9" * 20, "n"),
        ("x-arks-body-bytes", "many", None),
        ("x-arks-operation", "delete", None),
        ("x-arks-gateway", "", None),
        ("x-arks-demand", "1,2", None),
        ("x-arks-demand", "1,2,x", None),
        ("x-arks-demand", "1,-2,3", None),
    ],
)
def test_numbers_that_are_none_are_400(name: str, value: str, param: str | None) -> None:
    found = read_admit_request(Headers(ADMIT | {name: value}))
    assert isinstance(found, Rejection)
    assert (400, param) == (found.status, found.param)


async def test_models_are_listed_as_openai_does(api: Api, harness: Harness) -> None:
    harness.add(token(qos=[{"arksEndpoint": {"name": name}} for name in ("qwen", "missing")]))
    harness.endpoint(created_seconds=1767225600)
    found = await call_api(api, "/v1/models", headers=KEY)
    model = {"id": "qwen", "object": "model", "created": 1767225600, "owned_by": "team"}
    assert {"object": "list", "data": [model]} == found.json
    assert model == (await call_api(api, "/v1/models/qwen", headers=KEY)).json


async def test_a_model_with_the_name_of_a_hub_is_listed_found_and_admitted(api: Api, harness: Harness) -> None:
    harness.add(token())
    harness.endpoint(model="Qwen/Qwen2.5-7B", engine_model="Qwen/Qwen2.5-7B")
    (model,) = (await call_api(api, "/v1/models", headers=KEY)).json["data"]
    assert "Qwen/Qwen2.5-7B" == model["id"]
    for path in ("Qwen/Qwen2.5-7B", "Qwen%2FQwen2.5-7B"):
        assert model == (await call_api(api, f"/v1/models/{path}", headers=KEY)).json
    for name, renamed in (("Qwen/Qwen2.5-7B", None), ("qwen", "Qwen/Qwen2.5-7B")):
        found = await call_api(api, "/v1/admit", method="POST", headers=ADMIT | {"x-arks-model": name})
        assert ("team/qwen", renamed) == (found.headers["x-arks-cluster"], found.headers.get("x-arks-engine-model"))
        assert found.headers["x-arks-grant"].startswith("team/qwen/tom/")


async def test_what_the_engine_would_drop_is_refused_with_its_parameter(api: Api, harness: Harness) -> None:
    harness.add(token())
    harness.endpoint(unsupported=["schema.pattern", "tool_choice.name"])
    found = await call_api(api, "/v1/admit", method="POST", headers=ADMIT | {"x-arks-uses": "tool_choice.name"})
    assert (400, "tool_choice", "unsupported_parameter") == (
        found.status,
        found.json["error"]["param"],
        found.json["error"]["code"],
    )
    passed = await call_api(api, "/v1/admit", method="POST", headers=ADMIT | {"x-arks-uses": "schema.not"})
    assert (200, "schema.pattern,tool_choice.name") == (passed.status, passed.headers["x-arks-unsupported"])
    harness.endpoint()
    found = await call_api(api, "/v1/admit", method="POST", headers=ADMIT | {"x-arks-uses": "tool_choice.name"})
    assert (200, False) == (found.status, "x-arks-unsupported" in found.headers)


@pytest.mark.parametrize(
    ("affinity", "header"),
    [
        (None, None),
        (EndpointAffinity(prompt_bytes=1024), "1024"),
        (EndpointAffinity(prompt_bytes=0, header="session-id"), "0,session-id"),
    ],
)
async def test_a_grant_names_what_holds_requests_together(
    api: Api, harness: Harness, affinity: EndpointAffinity | None, header: str | None
) -> None:
    harness.add(token())
    harness.endpoint(affinity=affinity)
    assert header == (await call_api(api, "/v1/admit", method="POST", headers=ADMIT)).headers.get("x-arks-affinity")


async def test_a_key_without_models_gets_an_empty_list(api: Api, harness: Harness) -> None:
    harness.add(token())
    assert [] == (await call_api(api, "/v1/models", headers=KEY)).json["data"]


async def test_a_model_that_is_not_ready_is_still_a_model(api: Api, harness: Harness) -> None:
    harness.add(token())
    harness.endpoint(ready=False)
    assert 200 == (await call_api(api, "/v1/models/qwen", headers=KEY)).status


@pytest.mark.parametrize(
    ("call", "status"),
    [
        (("/v1/models", "GET", {}), 401),
        (("/v1/models", "GET", {"authorization": "Bearer unknown"}), 401),
        (("/v1/models/phi", "GET", KEY), 403),
        (("/v1/models/none", "GET", KEY), 404),
        (("/v1/models/a%2Fb", "GET", KEY), 404),
        (("/v1/models", "POST", KEY), 405),
        (("/v1/admit", "GET", ADMIT), 405),
        (("/v1/changes", "GET", {}), 405),
        (("/v1/key", "GET", KEY), 405),
        (("/v1/usage", "DELETE", {}), 405),
        (("/v1/nothing", "GET", {}), 404),
        (("/", "GET", {}), 404),
    ],
)
async def test_what_cannot_be_is_answered_in_the_envelope(
    api: Api, harness: Harness, call: tuple[str, str, dict[str, str]], status: int
) -> None:
    harness.add(token())
    harness.endpoint("phi")
    found = await call_api(api, *call)
    assert status == found.status
    assert {"message", "type", "param", "code"} <= set(found.json["error"])


async def test_gateways_and_operators_need_their_tokens(
    harness: Harness, counters: FakeCounters, ledger: SqlLedger, clock: FakeClock
) -> None:
    harness.add(token())
    harness.endpoint()
    gated = make(harness, counters, ledger, clock, Gates(TokenGate("gw"), TokenGate("op")))
    changes = {"x-arks-since": "1000", "x-arks-life": "life1"}
    calls = (("/v1/admit", "POST", ADMIT), ("/v1/key", "POST", KEY), ("/v1/changes", "POST", changes))
    for path, method, headers in calls:
        for given in ({}, {"x-arks-gateway-token": "op"}):
            refused = await call_api(gated, path, method, headers | given)
            assert (401, b"") == (refused.status, refused.body)  # the filter takes it for no answer
        assert (await call_api(gated, path, method, headers | {"x-arks-gateway-token": "gw"})).status in {200, 204}
    for headers, status in (
        ({}, 401),
        ({"authorization": "Bearer gw"}, 401),
        ({"authorization": "Bearer op"}, 200),
        ({"x-arks-operator-token": "op"}, 200),
    ):
        assert status == (await call_api(gated, "/v1/usage", headers=headers)).status
    assert 200 == (await call_api(gated, "/v1/models", headers=KEY)).status


async def test_usage_is_added_up_with_its_parts_by_source(api: Api, ledger: SqlLedger) -> None:
    await post(ledger, (UsageSource.ENGINE, 30, 20), (UsageSource.DELIVERED, 5, 1))
    found = (await call_api(api, "/v1/usage", query="namespace=team&group_by=token,day")).json
    engine = {"requests": 1, "promptTokens": 30, "completionTokens": 20, "totalTokens": 50}
    cut = {"requests": 1, "promptTokens": 5, "completionTokens": 1, "totalTokens": 6}
    both = {"requests": 2, "promptTokens": 35, "completionTokens": 21, "totalTokens": 56}
    item = {"token": "tom", "day": "2026-01-01"} | both | {"bySource": {"engine": engine, "delivered": cut}}
    assert {"groupBy": ["token", "day"], "items": [item], "total": both, "openReservations": 0} == found


async def test_usage_is_answered_while_redis_is_down(api: Api, ledger: SqlLedger, counters: FakeCounters) -> None:
    await post(ledger, (UsageSource.ENGINE, 30, 20))
    counters.away = True
    found = (await call_api(api, "/v1/usage")).json
    assert (1, None) == (found["total"]["requests"], found["openReservations"])


@pytest.mark.parametrize("query", ["group_by=colour", "since=yesterday", "until=2026-13-01", "tenant=x"])
async def test_a_question_about_usage_that_makes_no_sense_is_400(api: Api, query: str) -> None:
    assert 400 == (await call_api(api, "/v1/usage", query=query)).status


async def test_usage_without_a_ledger_is_503(
    harness: Harness, counters: FakeCounters, ledger: SqlLedger, clock: FakeClock
) -> None:
    api = make(harness, counters, cast("Ledger", BrokenLedger(ledger)), clock)
    assert 503 == (await call_api(api, "/v1/usage")).status


def test_days_are_read_as_dates() -> None:
    wanted, groups = read_usage_query("since=1970-01-02&until=1970-01-03&token=tom&group_by=")
    assert (UsageFilter(token="tom", first_day=1, last_day=2), []) == (wanted, groups)


async def test_an_unexpected_exception_is_500_in_the_envelope(
    api: Api, harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("sk-secret in a message")

    monkeypatch.setattr(harness.index, "holder", broken)
    found = await call_api(api, "/v1/admit", "POST", ADMIT)
    assert (500, "internal_error") == (found.status, found.json["error"]["code"])
    assert b"sk-secret" not in found.body
