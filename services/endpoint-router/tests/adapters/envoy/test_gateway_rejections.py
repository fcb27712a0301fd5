"""Rejections through a real Envoy, and requests while token-quota or its counters are away."""

import asyncio

import httpx
import pytest

from arks.endpoint_router.testing.gateway import REJECTION, Gateway, grant, leases, rejected
from arks.endpoint_router.testing.scripted import Script, answer
from arks.kit.testing.wait import eventually

pytestmark = pytest.mark.real

BODY = b'{"model":"m","max_tokens":7}'
AWAY = answer(b"away", 503, content_type="text/plain")


def code(response: httpx.Response) -> str:
    return str(response.json()["error"]["code"])


@pytest.mark.parametrize(
    ("scope", "other", "is_repeated"),
    [
        ("key", BODY.replace(b'"m"', b'"n"'), True),
        ("model", BODY, True),
        ("model", BODY.replace(b'"m"', b'"n"'), False),
        ("size", BODY, True),
        ("size", BODY + b" " * 10, True),
        ("size", BODY.replace(b"7", b"6"), False),
        ("size", b'{"model":"m","n":7,"x":"0123456789"}', True),
        ("size", b'{"model":"m","n":6,"x":"0123456789"}', False),
    ],
)
async def test_a_rejection_is_repeated_without_a_query(
    gateway: Gateway, scope: str, other: bytes, is_repeated: bool
) -> None:
    gateway.admission.script = rejected(f"1000,{scope}")
    first, second = await gateway.post(BODY), await gateway.post(other)
    assert (429, REJECTION, "3", "0") == (
        second.status_code,
        second.content,
        second.headers["retry-after"],
        second.headers["x-ratelimit-remaining-requests"],
    )
    assert first.headers.get("x-arks-refusal") is second.headers.get("x-arks-refusal") is None
    assert (1 if is_repeated else 2) == len(gateway.queries())
    assert [] == gateway.engine.requests


async def test_a_repeated_rejection_ends_after_its_time(gateway: Gateway) -> None:
    gateway.admission.script = rejected("150,key", 401)
    assert 401 == (await gateway.post(BODY)).status_code
    gateway.admission.script = grant()
    await eventually(lambda: passes(gateway), what="a request passes")


async def test_a_rejection_without_a_time_is_not_repeated(gateway: Gateway) -> None:
    gateway.admission.script = answer(REJECTION, 503)
    assert [503, 503] == [(await gateway.post(BODY)).status_code for _ in range(2)]
    assert 2 == len(gateway.queries())


async def test_a_lease_is_used_while_token_quota_is_away(gateway: Gateway) -> None:
    gateway.admission.script = leases()
    await gateway.post(BODY)
    await gateway.admission.stop()
    assert 200 == (await gateway.post(BODY)).status_code
    too_big = await gateway.post(BODY.replace(b"7", b"5000"))
    assert (503, "admission_unavailable") == (too_big.status_code, code(too_big))


@pytest.mark.parametrize(("policy", "status"), [("pass", 200), ("refuse", 503), ("nonsense", 503)])
async def test_without_token_quota_the_last_failure_policy_counts(gateway: Gateway, policy: str, status: int) -> None:
    gateway.admission.script = leases("0,0,0,1000,512", x_arks_outage=policy)
    await gateway.post(BODY)
    gateway.admission.script = AWAY
    response = await gateway.post(b'{"model":"m","n":2}')
    assert status == response.status_code
    if status == 200:
        assert ["S", response.headers["x-request-id"], "-", "5", "1024"] == gateway.starts()[-1][:5]
        assert "default/m/alice" == gateway.starts()[-1][-1]
        assert "default/m/alice/-/5/1024" in [line["grant"] for line in await gateway.usage(2)]
    else:
        assert "admission_unavailable" == code(response)
    assert 503 == (await gateway.post(BODY.replace(b'"m"', b'"n"'))).status_code


OUTAGES = [AWAY, grant(x_arks_grant="default/m/alice/-/10/20")]
"""token-quota gives no answer, or has none from its counters."""


@pytest.mark.parametrize("outage", OUTAGES, ids=["away", "without counters"])
async def test_no_request_passes_an_outage_over_a_limit_that_is_used_up(gateway: Gateway, outage: Script) -> None:
    gateway.admission.script = leases("0,0,0,1000,512", x_arks_outage="pass")
    await gateway.post(BODY)
    gateway.admission.script = rejected("1,model", x_arks_window="60000")
    assert 429 == (await gateway.post(BODY)).status_code
    gateway.admission.script = outage
    await asyncio.sleep(0.002)  # the rejection is not repeated any more
    response = await gateway.post(BODY)
    assert (429, REJECTION) == (response.status_code, response.content)
    assert 3 == len(gateway.queries())


async def test_a_limit_that_has_room_again_does_not_reject_in_an_outage(gateway: Gateway) -> None:
    gateway.admission.script = rejected("1,model", x_arks_window="60000")
    assert 429 == (await gateway.post(BODY)).status_code
    gateway.admission.script = leases("0,0,0,1000,512", x_arks_outage="pass")
    await eventually(lambda: passes(gateway), what="a request passes")
    gateway.admission.script = AWAY
    assert 200 == (await gateway.post(BODY)).status_code


async def passes(gateway: Gateway) -> bool:
    return (await gateway.post(BODY)).status_code == 200
