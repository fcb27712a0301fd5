"""Several calls of admission in one request."""

import asyncio

import pytest

from arks.kit.testing.clock import FakeClock
from arks.kit.testing.wait import eventually
from arks.token_quota.adapters.ledger import SqlLedger
from arks.token_quota.api.app import Api
from arks.token_quota.api.renewals import MAX_BYTES, MAX_CALLS, read_calls, write_answers
from arks.token_quota.testing.api import ADMIT, Headers, Request, Response, SlowCounters, make, watched_callers
from arks.token_quota.testing.fakes import FakeCounters, Harness, token


def body(*calls: dict[str, str]) -> bytes:
    return "\n\n".join("\n".join(map(": ".join, call.items())) for call in calls).encode()


async def renew(api: Api, sent: bytes, method: str = "POST") -> Response:
    response = Response(sent=sent)
    await api.__rsgi__(Request("/v1/leases", method, Headers({}), ""), response)
    return response


@pytest.fixture
def api(harness: Harness, counters: FakeCounters, ledger: SqlLedger, clock: FakeClock) -> Api:
    harness.add(token())
    harness.endpoint()
    return make(harness, counters, ledger, clock)


async def test_each_call_gets_its_own_answer_in_the_same_order(api: Api, counters: FakeCounters) -> None:
    renewal = ADMIT | {"x-arks-demand": "7,70,140"}
    wrong_key = ADMIT | {"authorization": "Bearer sk-none"}
    no_number = ADMIT | {"x-arks-body-bytes": "many"}
    found = await renew(api, body(renewal, wrong_key, no_number, ADMIT | {"x-arks-body-bytes": "40"}))
    answers = found.body.decode().split("\n\n")
    first, second = counters.granted
    assert (200, ["200", "401", "400", "200"]) == (found.status, [text.partition("\n")[0] for text in answers])
    assert f"x-arks-grant: team/qwen/tom/{first.lease}/100/512" in answers[0].split("\n")
    assert "x-arks-lease: 420,4200,8400,60000,512" in answers[0].split("\n")
    assert f"x-arks-grant: team/qwen/tom/{second.lease}/10/512" in answers[3].split("\n")


async def test_leases_whose_gateway_is_gone_return_at_once(
    harness: Harness, ledger: SqlLedger, clock: FakeClock, api: Api
) -> None:
    counters = SlowCounters()
    api = make(harness, counters, ledger, clock)
    response = Response(sent=body(ADMIT | {"x-arks-request-id": "r1"}, ADMIT | {"x-arks-request-id": "r2"}))
    call = asyncio.create_task(api.__rsgi__(Request("/v1/leases", "POST", Headers({}), ""), response))
    await eventually(watched_callers, what="a call that is watched")
    response.gone.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    counters.grants.set()
    await call
    assert (0, 2) == (response.status, len(counters.granted))
    assert [("team", command.lease) for command in counters.granted] == counters.unsent_leases


@pytest.mark.parametrize("sent", [b"", b"authorization", b"\xff: 1", body(*[ADMIT] * (MAX_CALLS + 1))])
async def test_what_is_no_list_of_calls_is_refused(api: Api, counters: FakeCounters, sent: bytes) -> None:
    assert (400, []) == ((await renew(api, sent)).status, counters.granted)


async def test_only_posts_are_read(api: Api) -> None:
    assert 405 == (await renew(api, body(ADMIT), "GET")).status


def test_values_may_have_the_signs_between_names_and_values() -> None:
    assert [{"a": "b: c"}, {"d": ""}] == read_calls(b"a: b: c\n\nd: ")
    assert b"200\na: b: c\n\n429" == write_answers([(200, [("a", "b: c")]), (429, [])])


def test_a_long_body_is_not_read() -> None:
    assert read_calls(b"a: " + b"b" * MAX_BYTES) is None
