import asyncio
from typing import Any, cast

import pytest

from arks.kit.errors import Conflict, Unavailable
from arks.kit.key import Key
from arks.kit.kube import election
from arks.kit.kube.api import KubeApi
from arks.kit.kube.election import GIVE_UP_SECONDS, LEASE_SECONDS, Election
from arks.kit.testing.clock import FakeClock
from arks.kit.types import Json

LEASE = Key("arks-system", "arks-metrics")


class Leases:
    """One lease, as the API server keeps it."""

    def __init__(self) -> None:
        self.lease: Json | None = None
        self.away = False
        self.hangs = False
        self._version = 0

    async def get(self, *_: object) -> Json | None:
        if self.hangs:
            await asyncio.Event().wait()
        if self.away:
            raise Unavailable("connection refused")
        return self.lease

    async def create(self, _: object, lease: Json) -> None:
        await self.merge(None, LEASE, {"metadata": {}, "spec": lease["spec"]})

    async def merge(self, _: object, __: Key, patch: Json) -> None:
        known = str(self._version)
        if patch["metadata"].get("resourceVersion", known) != known:
            raise Conflict("changed")
        self._version += 1
        self.lease = {"metadata": {"resourceVersion": str(self._version)}, "spec": patch["spec"]}


def elected(leases: Leases, name: str, clock: FakeClock) -> Election:
    return Election(cast("KubeApi", leases), LEASE, name, clock)


@pytest.fixture
def rounds(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Lets an election make this many tries, each after `seconds` of its clock."""

    async def made(candidate: Election, clock: FakeClock, number: int, seconds: float = 2.0) -> None:
        remaining = number

        async def sleep(_: float) -> None:
            nonlocal remaining
            remaining -= 1
            clock.advance(seconds)
            if remaining <= 0:
                raise asyncio.CancelledError

        monkeypatch.setattr("arks.kit.kube.election.asyncio.sleep", sleep)
        with pytest.raises(asyncio.CancelledError):
            await candidate.run()

    return made


async def test_a_leader_whose_clock_is_an_hour_late_keeps_its_lease(rounds: Any) -> None:
    leases, clock, late = Leases(), FakeClock(), FakeClock()
    first, second = elected(leases, "first", late), elected(leases, "second", clock)
    clock.advance(3600)
    for _ in range(20):
        await rounds(first, late, 1)
        await rounds(second, clock, 1)
    assert (True, False) == (first.leading.is_set(), second.leading.is_set())


async def test_a_lease_without_renewal_is_taken_although_the_clock_of_its_holder_is_fast(rounds: Any) -> None:
    leases, clock, fast = Leases(), FakeClock(), FakeClock()
    fast.advance(3600)
    await rounds(elected(leases, "first", fast), fast, 1)
    second = elected(leases, "second", clock)
    await rounds(second, clock, int(LEASE_SECONDS / 2))
    assert not second.leading.is_set()
    await rounds(second, clock, 3)
    assert second.leading.is_set()


async def test_a_leader_that_cannot_renew_ends_before_another_may_lead(rounds: Any) -> None:
    leases, clock = Leases(), FakeClock()
    leader = elected(leases, "first", clock)
    await rounds(leader, clock, 1)
    leases.away = True
    renewed = clock.monotonic() - 2.0
    with pytest.raises(RuntimeError, match="lost the lease"):
        await rounds(leader, clock, 100)
    assert GIVE_UP_SECONDS <= clock.monotonic() - renewed < LEASE_SECONDS


async def test_a_request_without_an_answer_ends_a_leader_in_time(rounds: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    leases, clock = Leases(), FakeClock()
    leader = elected(leases, "first", clock)
    await rounds(leader, clock, 1)
    leases.hangs = True
    monkeypatch.setattr(election, "GIVE_UP_SECONDS", 2.01)
    with pytest.raises(RuntimeError, match="lost the lease"):
        await rounds(leader, clock, 100)
