"""Gateways of 0.1.0, which call this version while an upgrade replaces them."""

from arks.kit.testing.clock import FakeClock
from arks.token_quota.adapters.ledger import SqlLedger
from arks.token_quota.domain.grant import parse_grant
from arks.token_quota.testing.api import ADMIT, Headers, Request, Response, make
from arks.token_quota.testing.fakes import FakeCounters, Harness, token

CALL = {name: value for name, value in ADMIT.items() if name != "x-arks-gateway"} | {"x-arks-request-id": "r1"}


async def admitted(harness: Harness, counters: FakeCounters, ledger: SqlLedger, clock: FakeClock) -> Response:
    response = Response()
    api = make(harness, counters, ledger, clock)
    await api.__rsgi__(Request("/v1/admit", "POST", Headers(CALL), ""), response)
    return response


async def test_its_grant_has_no_lease_and_what_was_reserved_returns_at_once(
    harness: Harness, counters: FakeCounters, ledger: SqlLedger, clock: FakeClock
) -> None:
    harness.add(token(qos=[{"arksEndpoint": {"name": "qwen"}, "rateLimits": [{"type": "rpm", "value": 10}]}]))
    harness.endpoint()
    found = await admitted(harness, counters, ledger, clock)
    assert (200, "team/qwen", "team/qwen/tom/100/512") == (
        found.status,
        found.headers["x-arks-cluster"],
        found.headers["x-arks-grant"],
    )
    assert "10" == found.headers["x-ratelimit-limit-requests"]
    assert [("team", counters.granted[0].lease)] == counters.unsent_leases
    grant = parse_grant(found.headers["x-arks-grant"])
    assert grant is not None and "" == grant.lease


async def test_an_endpoint_without_a_ready_replica_is_an_error(
    harness: Harness, counters: FakeCounters, ledger: SqlLedger, clock: FakeClock
) -> None:
    harness.add(token())
    harness.endpoint(ready=False)
    found = await admitted(harness, counters, ledger, clock)
    assert 503 == found.status and "error" in found.json
    assert [] == counters.granted


async def test_a_wrong_key_is_rejected(
    harness: Harness, counters: FakeCounters, ledger: SqlLedger, clock: FakeClock
) -> None:
    assert 401 == (await admitted(harness, counters, ledger, clock)).status
