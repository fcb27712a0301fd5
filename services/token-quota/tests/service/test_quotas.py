from dataclasses import replace
from datetime import UTC, datetime

import pytest

from arks.contracts.conditions import is_true
from arks.contracts.resources import ArksQuotaStatus
from arks.kit.reconcile import Key, Requeue
from arks.kit.testing.clock import FakeClock
from arks.token_quota.adapters.ledger import SqlLedger
from arks.token_quota.domain.posting import Source, Usage
from arks.token_quota.service.ports import Moment
from arks.token_quota.service.quotas import LOOKS_PER_SECOND, Quotas
from arks.token_quota.testing.fakes import FakeEvents, FakeResources, World, quota

Q = Key("team", "q")
USAGE = Usage("r0", "team", "tom", "qwen", "q", "completions", Source.ENGINE, 1_767_225_600_000, 30, 20)


class Bench:
    def __init__(self, world: World, ledger: SqlLedger, events: FakeEvents, clock: FakeClock) -> None:
        self.world, self.ledger, self.events, self.clock = world, ledger, events, clock
        self.resources = FakeResources(world.quotas)
        self.quotas = Quotas(self.resources, world.directory, ledger, events, clock, 10)
        self.requests = 0

    async def use(self, requests: int = 1) -> None:
        for _ in range(requests):
            self.requests += 1
            usage = replace(USAGE, request_id=f"r{self.requests}")
            await self.ledger.post([usage], Moment(USAGE.started_at_milliseconds))

    async def status(self) -> ArksQuotaStatus:
        assert Requeue(10) == await self.quotas.reconcile(Q)
        status = self.resources.statuses[Q]
        assert isinstance(status, ArksQuotaStatus)
        return status


@pytest.fixture
def bench(world: World, ledger: SqlLedger, events: FakeEvents, clock: FakeClock) -> Bench:
    return Bench(world, ledger, events, clock)


def used(status: ArksQuotaStatus) -> dict[str, int]:
    return {usage.type.value: usage.used for usage in status.quota_status}


async def test_usage_is_written_into_status_by_type(bench: Bench) -> None:
    bench.world.add(quota(prompt=100, response=100, total=100))
    await bench.use()
    status = await bench.status()
    assert {"prompt": 30, "response": 20, "total": 50} == used(status)
    assert is_true(status.conditions, "Ready") and not is_true(status.conditions, "Exceeded")


async def test_the_time_of_the_last_change_is_that_of_the_last_use(bench: Bench) -> None:
    bench.world.add(quota(total=1000))
    first = (await bench.status()).quota_status[0].last_update_time
    bench.clock.advance(10)
    assert first == (await bench.status()).quota_status[0].last_update_time
    await bench.use()
    bench.clock.advance(10)
    assert datetime(2026, 1, 1, 0, 0, 20, tzinfo=UTC) == (await bench.status()).quota_status[0].last_update_time


async def test_a_budget_that_is_used_up_says_so_once_and_again_when_it_has_room(bench: Bench) -> None:
    bench.world.add(quota(total=100))
    await bench.use(2)
    assert is_true((await bench.status()).conditions, "Exceeded")
    await bench.status()
    bench.world.add(quota(total=1000))
    bench.world.quotas.apply(Q, quota(total=1000).model_copy(update={"status": bench.resources.statuses[Q]}))
    await bench.status()
    assert ["quota.exhausted", "quota.available"] == [verb for verb, _, _ in bench.events.published]


async def test_a_reset_starts_from_0_once(bench: Bench) -> None:
    bench.world.add(quota(total=100, resets=1))
    await bench.use()
    status = await bench.status()
    assert ({"total": 0}, 1) == (used(status), status.reset_generation)
    await bench.use()
    bench.clock.advance(10)
    assert {"total": 50} == used(await bench.status())
    assert ["quota.reset"] == [verb for verb, _, _ in bench.events.published]


async def test_budgets_at_rest_cost_one_question_together(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def counted(name: str) -> None:
        question = getattr(bench.ledger, name)

        async def ask(*arguments: object, **named: object) -> object:
            asked.append(name)
            return await question(*arguments, **named)

        monkeypatch.setattr(bench.ledger, name, ask)

    counted("budget_sums")
    counted("heads")
    keys = [Key("team", f"q{number}") for number in range(50)]
    bench.world.add(*(quota(key.name, total=100) for key in keys))
    for _ in range(2):
        for key in keys:
            await bench.quotas.reconcile(key)
    assert (50, 1) == (asked.count("budget_sums"), asked.count("heads"))
    bench.clock.advance(10)
    await bench.use()
    for key in keys:
        await bench.quotas.reconcile(key)
    assert (100, 2) == (asked.count("budget_sums"), asked.count("heads"))  # somebody in the namespace used something


async def test_resets_are_remembered_by_the_ledger(bench: Bench) -> None:
    bench.world.add(quota(total=100))
    await bench.ledger.reset("team", "q", 4, Moment(1))
    await bench.quotas.load()
    budget = bench.world.directory.budget("team", "q")
    assert budget is not None
    assert 4 == budget.generation


async def test_a_monthly_budget_shows_its_month(bench: Bench) -> None:
    bench.world.add(quota(period="month", total=100))
    bench.clock.advance(40 * 86_400)
    await bench.use()
    status = await bench.status()
    assert ({"total": 0}, datetime(2026, 2, 1, tzinfo=UTC)) == (used(status), status.period_start)


async def test_after_a_start_budgets_whose_status_is_right_are_not_all_looked_at_at_once(bench: Bench) -> None:
    keys = [Key("team", f"q{number}") for number in range(50)]
    bench.world.add(*(quota(key.name, total=100) for key in keys))
    assert {0.0} == {bench.quotas.first_seconds(key) for key in keys}
    for key in keys:
        told = {"status": ArksQuotaStatus(observed_generation=1)}
        bench.world.quotas.apply(key, quota(key.name, total=100).model_copy(update=told))
    assert len(keys) == len({bench.quotas.first_seconds(key) for key in keys})
    await bench.quotas.reconcile(keys[0])
    assert 0.0 == bench.quotas.first_seconds(keys[0])


async def test_many_quotas_are_looked_at_no_more_often_together_than_a_few(bench: Bench) -> None:
    many = [f"q{number}" for number in range(600)]
    for name in many:
        bench.world.add(quota(name, total=100))
    pauses = [await bench.quotas.reconcile(Key("team", name)) for name in many]
    assert (Requeue(10), Requeue(600 / LOOKS_PER_SECOND)) == (pauses[0], pauses[-1])
