"""Presence that a replica of metrics sends, and what it does with that of others."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from arks.kit.clock import SystemClock
from arks.kit.tasks import cancel
from arks.kit.testing.wait import eventually
from arks.metrics.domain.members import Member, Members
from arks.metrics.service import sharing
from arks.metrics.service.sharing import Sharing


class FakeChannel:
    connected = True

    def __init__(self) -> None:
        self.sent: list[Member] = []
        self.take: Callable[[Member], None] | None = None

    async def follow(self, take: Callable[[Member], None]) -> None:
        self.take = take

    async def send(self, member: Member) -> None:
        self.sent.append(member)


class Shared:
    is_warm = False
    divisions = 0

    def divide(self) -> None:
        self.divisions += 1

    def warm(self) -> bool:
        return self.is_warm


class Running:
    def __init__(self) -> None:
        self.channel, self.shared, self.synced = FakeChannel(), Shared(), asyncio.Event()
        self.members = Members("a")
        self.sharing = Sharing(self.members, self.shared, self.channel, SystemClock(), synced=self.synced.wait)

    def receive(self, member: Member) -> None:
        assert self.channel.take is not None
        self.channel.take(member)


@pytest_asyncio.fixture
async def running(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    monkeypatch.setattr(sharing, "ARRIVAL_SECONDS", 0.01)
    monkeypatch.setattr(sharing, "BEAT_SECONDS", 0.02)
    running = Running()
    task = asyncio.create_task(running.sharing.run())
    await eventually(lambda: running.channel.sent)
    yield running
    await cancel(task)


async def test_a_member_alone_reports_once_it_has_all_applications(running: Running) -> None:
    await eventually(lambda: len(running.channel.sent) >= 3, what="presence before it can read")
    assert {Member("a")} == set(running.channel.sent)
    running.synced.set()
    await eventually(lambda: running.channel.sent[-1] == Member("a", ready=True))
    assert running.shared.divisions >= 1


async def test_a_member_beside_another_reports_once_it_is_warm(running: Running) -> None:
    running.receive(Member("b", ready=True))
    running.synced.set()
    await eventually(lambda: len(running.channel.sent) >= 4)
    assert {Member("a")} == set(running.channel.sent)
    assert running.sharing.problem() is not None
    running.shared.is_warm = True
    running.receive(Member("b", ready=True))
    await eventually(lambda: running.channel.sent[-1] == Member("a", ready=True))
    assert running.sharing.problem() is None


@pytest.fixture
def slow_beat(monkeypatch: pytest.MonkeyPatch, running: Running) -> None:
    """What is sent within the time of a test was sent at once."""
    monkeypatch.setattr(sharing, "BEAT_SECONDS", 600.0)
    monkeypatch.setattr(sharing, "ALONE_SECONDS", 600.0)


@pytest.mark.usefixtures("slow_beat")
async def test_a_new_member_is_answered_at_once(running: Running) -> None:
    running.synced.set()
    await eventually(lambda: running.members.own.ready)
    before = len(running.channel.sent)
    running.receive(Member("b"))
    await eventually(lambda: len(running.channel.sent) > before, what="an answer before the beat")


@pytest.mark.usefixtures("slow_beat")
async def test_a_member_that_appears_while_presence_is_sent_is_answered_at_once(running: Running) -> None:
    running.synced.set()
    await eventually(lambda: running.members.own.ready)
    newcomers = iter([Member("b"), Member("c")])

    async def send(member: Member) -> None:
        running.channel.sent.append(member)
        if (newcomer := next(newcomers, None)) is not None:
            running.receive(newcomer)

    running.channel.send = send  # type: ignore[method-assign]
    before = len(running.channel.sent)
    running.receive(Member("d"))
    await eventually(lambda: len(running.channel.sent) >= before + 3, what="three answers")


async def test_a_member_that_ends_is_gone_for_the_others_at_once(running: Running) -> None:
    running.synced.set()
    await running.sharing.depart()
    assert Member("a", leaving=True) == running.channel.sent[-1]
    assert not running.members.own.ready
