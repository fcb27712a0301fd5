import asyncio

import pytest

from arks.token_quota.domain.answers import Rejection, unknown_key
from arks.token_quota.domain.grant import Grant
from arks.token_quota.domain.lease import LeaseAmount
from arks.token_quota.service import repeated_admissions
from arks.token_quota.service.admission import AdmitRequest, Granted
from arks.token_quota.service.repeated_admissions import KEEP_SECONDS, RepeatedAdmissions

REQUEST = AdmitRequest("Bearer sk-tom", "gateway", "qwen", "completions", 40)


class LimitOfOne:
    """Admission with room for a single request."""

    def __init__(self) -> None:
        self.now, self.calls, self.room = 0.0, 0, 1
        self.gate = asyncio.Event()
        self.gate.set()

    async def admit(self, request: AdmitRequest) -> Granted | Rejection:
        self.calls += 1
        await self.gate.wait()
        if self.room == 0:
            return unknown_key()
        self.room -= 1
        return Granted(Grant("team", "qwen", "tom", f"lease{self.calls}", 10, 20), LeaseAmount(), 1000, 512, True, ())


@pytest.fixture
def limit() -> LimitOfOne:
    return LimitOfOne()


@pytest.fixture
def repeats(limit: LimitOfOne) -> RepeatedAdmissions:
    return RepeatedAdmissions(limit.admit, lambda: limit.now)


async def test_the_same_request_gets_the_same_grant_at_the_limit(
    limit: LimitOfOne, repeats: RepeatedAdmissions
) -> None:
    first = await repeats.admit("r1", REQUEST)
    assert isinstance(first, Granted)
    assert (first, 1) == (await repeats.admit("r1", REQUEST), limit.calls)


async def test_a_repetition_while_the_first_call_waits_gets_its_grant(
    limit: LimitOfOne, repeats: RepeatedAdmissions
) -> None:
    limit.gate.clear()
    calls = [asyncio.create_task(repeats.admit("r1", REQUEST)) for _ in range(3)]
    await asyncio.sleep(0)
    limit.gate.set()
    found = await asyncio.gather(*calls)
    assert ({found[0]}, 1) == (set(found), limit.calls)


@pytest.mark.parametrize(
    ("request_id", "request_", "seconds"),
    [
        ("r2", REQUEST, 0.0),
        ("r1", REQUEST._replace(authorization="Bearer sk-ann"), 0.0),
        ("r1", REQUEST._replace(max_tokens=9), 0.0),
        ("r1", REQUEST, KEEP_SECONDS),
    ],
)
async def test_another_request_is_decided_by_itself(
    limit: LimitOfOne, repeats: RepeatedAdmissions, request_id: str, request_: AdmitRequest, seconds: float
) -> None:
    await repeats.admit("r1", REQUEST)
    limit.now += seconds
    assert isinstance(await repeats.admit(request_id, request_), Rejection)


async def test_a_rejection_is_not_repeated(limit: LimitOfOne, repeats: RepeatedAdmissions) -> None:
    limit.room = 0
    assert isinstance(await repeats.admit("r1", REQUEST), Rejection)
    limit.room = 1
    assert isinstance(await repeats.admit("r1", REQUEST), Granted)


async def test_few_grants_are_kept(
    limit: LimitOfOne, repeats: RepeatedAdmissions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repeated_admissions, "MAX_KEPT", 2)
    limit.room = 4
    for request_id in ("r1", "r2", "r3", "r1"):
        await repeats.admit(request_id, REQUEST)
    assert 4 == limit.calls


async def test_a_call_that_is_cancelled_is_forgotten(limit: LimitOfOne, repeats: RepeatedAdmissions) -> None:
    limit.gate.clear()
    call = asyncio.create_task(repeats.admit("r1", REQUEST))
    await asyncio.sleep(0)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    limit.gate.set()
    assert isinstance(await repeats.admit("r1", REQUEST), Granted)
