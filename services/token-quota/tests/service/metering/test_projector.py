from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any

import pytest

from arks.kit.key import Key
from arks.kit.testing.wait import eventually
from arks.token_quota.adapters.ledger import SqlLedger
from arks.token_quota.domain.batch import UsageBatch, UsageRecord
from arks.token_quota.domain.time import Moment
from arks.token_quota.service.metering import projector as projector_module
from arks.token_quota.service.metering.context import MeteringContext
from arks.token_quota.service.metering.projector import Projector
from arks.token_quota.service.ports.counters import ChangeWithBudgets
from arks.token_quota.service.ports.ledger import PruneBefore
from arks.token_quota.testing.fakes import FakeCounters, Harness
from arks.token_quota.testing.usage import batch, record

Running = Callable[[Any], AbstractAsyncContextManager[None]]
Post = Callable[..., Awaitable[None]]


@pytest.fixture
def post(ledger: SqlLedger, noon: Moment) -> Post:
    async def post_batches(*batches: UsageBatch) -> None:
        await ledger.post(batches, lambda namespace, token, endpoint: "q", noon)

    return post_batches


class ApplyCalls(FakeCounters):
    """Keeps the calls apart."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Sequence[ChangeWithBudgets]] = []
        self.attempts = 0
        """Calls of any method."""

    def _check(self) -> None:
        self.attempts += 1
        super()._check()

    async def apply(self, namespace: str, after: int, changes: Sequence[ChangeWithBudgets], now: Moment) -> int | None:
        self.calls.append(changes)
        return await super().apply(namespace, after, changes, now)


def leases(counters: FakeCounters) -> list[str]:
    return [part.lease for change in counters.applied for part in change.changes]


def of_lease(number: int) -> UsageRecord:
    return record(f"r{number}", lease=f"L{number}")


async def test_counters_follow_the_ledger_in_order(projector: Projector, post: Post, counters: FakeCounters) -> None:
    await post(*(batch(of_lease(number)) for number in range(150)))
    await projector.bring_forward("team")
    assert [f"L{number}" for number in range(150)] == leases(counters)


async def test_changes_are_applied_with_the_budgets_of_their_quotas(
    context: MeteringContext, post: Post, harness: Harness
) -> None:
    counters = ApplyCalls()
    await post(batch(record()))
    await Projector(replace(context, counters=counters), 60).bring_forward("team")
    ((_, budgets),) = counters.calls[0]
    assert {"q": harness.budgets.of("team", "q")} == budgets


async def test_a_change_after_a_reset_counts_in_the_new_budget_before_its_quota_shows_the_reset(
    context: MeteringContext, post: Post, ledger: SqlLedger, noon: Moment
) -> None:
    counters = ApplyCalls()
    await ledger.reset("team", "q", 2, noon)
    await post(batch(record()))
    await Projector(replace(context, counters=counters), 60).bring_forward("team")
    ((_, budgets),) = counters.calls[0]
    assert (0, 2) == (context.budgets.resets(Key("team", "q")), budgets["q"].generation)


async def test_a_script_call_takes_a_limited_number_of_changes_but_a_whole_batch(
    context: MeteringContext, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projector_module, "APPLY_CHANGES", 2)
    counters = ApplyCalls()
    await post(batch(*(of_lease(number) for number in range(3))))
    for number in range(3, 6):
        await post(batch(of_lease(number)))
    await Projector(replace(context, counters=counters), 60).bring_forward("team")
    assert [[3], [1, 1], [1]] == [[len(change.changes) for change, _ in call] for call in counters.calls]


async def test_a_change_is_applied_once_by_two_replicas(
    context: MeteringContext, post: Post, counters: FakeCounters
) -> None:
    ours, theirs = Projector(context, 60), Projector(context, 60)
    for number in range(3):
        await post(batch(of_lease(number)))
        await (ours if number % 2 else theirs).bring_forward("team")
    await ours.bring_forward("team")
    assert ["L0", "L1", "L2"] == leases(counters)


async def test_a_restarted_service_applies_changes_that_its_predecessor_did_not(
    projector: Projector, running: Running, post: Post, counters: FakeCounters
) -> None:
    await post(batch(record()))
    async with running(projector.run()):
        await eventually(lambda: counters.applied)
    assert {"team"} == projector.namespaces()


async def test_while_redis_is_away_changes_wait_and_are_applied_when_it_is_back(
    context: MeteringContext, running: Running, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projector_module, "RETRY_SECONDS", 0.0)
    counters = ApplyCalls()
    counters.away = True
    await post(batch(record()))
    async with running(Projector(replace(context, counters=counters), 60).run()):
        await eventually(lambda: counters.attempts > 2)
        counters.away = False
        await eventually(lambda: counters.applied)


async def test_a_wiped_redis_is_brought_forward_from_where_its_new_counters_begin(
    projector: Projector, post: Post, counters: FakeCounters
) -> None:
    await post(batch(of_lease(1)))
    counters.lost = True
    counters.epoch = replace(counters.epoch, cursor=0)
    await projector.bring_forward("team")
    assert ["L1"] == leases(counters)


async def test_counters_that_are_ahead_of_the_ledger_are_begun_again(
    projector: Projector, post: Post, ledger: SqlLedger, counters: FakeCounters
) -> None:
    counters.epoch = replace(counters.epoch, cursor=1000)
    await post(batch(record()))
    await projector.bring_forward("team")
    assert ("e1+", await ledger.last_seq(), []) == (counters.epoch.id, counters.epoch.cursor, counters.applied)


async def test_counters_that_lack_deleted_changes_are_begun_again(
    projector: Projector, post: Post, ledger: SqlLedger, counters: FakeCounters, noon: Moment
) -> None:
    for number in range(3):
        await post(batch(of_lease(number)))
    await ledger.prune(PruneBefore(0, 0, noon.milliseconds + 1), 100)
    await projector.bring_forward("team")
    assert ("e1+", await ledger.last_seq(), []) == (counters.epoch.id, counters.epoch.cursor, counters.applied)
    await post(batch(of_lease(3)))
    await projector.bring_forward("team")
    assert ("e1+", ["L3"]) == (counters.epoch.id, leases(counters))


async def test_counters_that_contain_all_deleted_changes_go_on(
    projector: Projector, post: Post, ledger: SqlLedger, counters: FakeCounters, noon: Moment
) -> None:
    await post(batch(of_lease(0)))
    await projector.bring_forward("team")
    await post(batch(of_lease(1)))
    await ledger.prune(PruneBefore(0, 0, noon.milliseconds + 1), 100)
    await projector.bring_forward("team")
    assert ("e1", ["L0", "L1"]) == (counters.epoch.id, leases(counters))
