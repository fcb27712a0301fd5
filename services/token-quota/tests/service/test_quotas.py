from dataclasses import replace
from datetime import UTC, datetime

import pytest

from arks.contracts.conditions import is_true
from arks.contracts.resources import ArksQuotaStatus
from arks.contracts.usage import UsageSource
from arks.kit.key import Key
from arks.kit.reconcile import Requeue
from arks.kit.testing.clock import FakeClock
from arks.token_quota.adapters.ledger import SqlLedger
from arks.token_quota.domain.time import Moment
from arks.token_quota.domain.usage import Usage
from arks.token_quota.service.quotas import RECONCILES_PER_SECOND, QuotaReconciler
from arks.token_quota.testing.fakes import FakeEvents, FakeResources, Harness, quota

Q = Key("team", "q")
USAGE = Usage("r0", "team", "tom", "qwen", "q", "completions", UsageSource.ENGINE, 1_767_225_600_000, 30, 20)


class Bench:
    def __init__(self, harness: Harness, ledger: SqlLedger, events: FakeEvents, clock: FakeClock) -> None:
        self.harness, self.ledger, self.events, self.clock = harness, ledger, events, clock
        self.resources = FakeResources(harness.quotas)
        self.quotas = QuotaReconciler(self.resources, harness.index, ledger, events, clock, 10)
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
def bench(harness: Harness, ledger: SqlLedger, events: FakeEvents, clock: FakeClock) -> Bench:
    return Bench(harness, ledger, events, clock)


def used(status: ArksQuotaStatus) -> dict[str, int]:
    return {usage.type.value: usage.used for usage in status.quota_status}


async def test_usage_is_written_into_status_by_type(bench: Bench) -> None:
    bench.harness.add(quota(prompt=100, response=100, total=100))
    await bench.use()
    status = await bench.status()
    assert {"prompt": 30, "response": 20, "total": 50} == used(status)
    assert is_true(status.conditions, "Ready") and not is_true(status.conditions, "Exceeded")


async def test_the_time_of_the_last_change_is_that_of_the_last_use(bench: Bench) -> None:
    bench.harness.add(quota(total=1000))
    first = (await bench.status()).quota_status[0].last_update_time
    bench.clock.advance(10)
    assert first == (await bench.status()).quota_status[0].last_update_time
    await bench.use()
    bench.clock.advance(10)
    assert datetime(2026, 1, 1, 0, 0, 20, tzinfo=UTC) == (await bench.status()).quota_status[0].last_update_time


async def test_a_used_up_budget_is_published_once_and_again_when_it_has_room(bench: Bench) -> None:
    bench.harness.add(quota(total=100))
    await bench.use(2)
    assert is_true((await bench.status()).conditions, "Exceeded")
    await bench.status()
    bench.harness.add(quota(total=1000))
    bench.harness.quotas.apply(Q, quota(total=1000).model_copy(update={"status": bench.resources.statuses[Q]}))
    await bench.status()
    assert ["quota.exhausted", "quota.available"] == [verb for verb, _, _ in bench.events.published]


async def test_a_reset_starts_from_0_once(bench: Bench) -> None:
    bench.harness.add(quota(total=100, resets=1))
    await bench.use()
    status = await bench.status()
    assert ({"total": 0}, 1) == (used(status), status.reset_generation)
    await bench.use()
    bench.clock.advance(10)
    assert {"total": 50} == used(await bench.status())
    assert ["quota.reset"] == [verb for verb, _, _ in bench.events.published]


async def test_budgets_at_rest_cost_one_question_together(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    request: list[str] = []

    def counted(name: str) -> None:
        question = getattr(bench.ledger, name)

        async def tokens(*arguments: object, **named: object) -> object:
            request.append(name)
            return await question(*arguments, **named)

        monkeypatch.setattr(bench.ledger, name, tokens)

    counted("budget_sums")
    counted("heads")
    keys = [Key("team", f"q{number}") for number in range(50)]
    bench.harness.add(*(quota(key.name, total=100) for key in keys))
    for _ in range(2):
        for key in keys:
            await bench.quotas.reconcile(key)
    assert (50, 1) == (request.count("budget_sums"), request.count("heads"))
    bench.clock.advance(10)
    await bench.use()
    for key in keys:
        await bench.quotas.reconcile(key)
    assert (100, 2) == (
        request.count("budget_sums"),
        request.count("heads"),
    )  # a request of the namespace was charged


async def test_resets_are_remembered_by_the_ledger(bench: Bench) -> None:
    bench.harness.add(quota(total=100))
    await bench.ledger.reset("team", "q", 4, Moment(1))
    await bench.quotas.load_resets()
    budget = bench.harness.index.budget("team", "q")
    assert budget is not None
    assert 4 == budget.generation


async def test_a_monthly_budget_shows_its_month(bench: Bench) -> None:
    bench.harness.add(quota(period="month", total=100))
    bench.clock.advance(40 * 86_400)
    await bench.use()
    status = await bench.status()
    assert ({"total": 0}, datetime(2026, 2, 1, tzinfo=UTC)) == (used(status), status.period_start)


async def test_after_a_start_the_first_sums_of_quotas_with_current_status_are_spread(bench: Bench) -> None:
    keys = [Key("team", f"q{number}") for number in range(50)]
    for key in keys:
        current = {"status": ArksQuotaStatus(observed_generation=1)}
        bench.harness.quotas.apply(key, quota(key.name, total=100).model_copy(update=current))
    pauses = [await bench.quotas.reconcile(key) for key in keys]
    assert len(keys) == len({pause.after_seconds for pause in pauses if pause is not None})
    assert {} == bench.resources.statuses
    assert Requeue(10) == await bench.quotas.reconcile(keys[0])
    assert [keys[0]] == list(bench.resources.statuses)


async def test_a_quota_without_current_status_is_summed_at_once(bench: Bench) -> None:
    bench.harness.add(quota(total=100))
    assert 1 == (await bench.status()).observed_generation


async def test_many_quotas_are_looked_at_no_more_often_together_than_a_few(bench: Bench) -> None:
    many = [f"q{number}" for number in range(600)]
    for name in many:
        bench.harness.add(quota(name, total=100))
    pauses = [await bench.quotas.reconcile(Key("team", name)) for name in many]
    assert (Requeue(10), Requeue(600 / RECONCILES_PER_SECOND)) == (pauses[0], pauses[-1])
