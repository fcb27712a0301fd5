from datetime import UTC, datetime

import pytest

from arks.contracts.conditions import is_true
from arks.contracts.resources import ArksQuotaStatus
from arks.kit.key import Key
from arks.kit.reconcile import Requeue
from arks.kit.resource_events import ResourceEvents
from arks.kit.testing.clock import FakeClock
from arks.token_quota.adapters.ledger import SqlLedger
from arks.token_quota.domain.time import Moment
from arks.token_quota.service.quotas import RECONCILES_PER_SECOND, QuotaReconciler
from arks.token_quota.testing.fakes import FakeEvents, FakeResources, Harness, quota
from arks.token_quota.testing.usage import STARTED_AT_MILLISECONDS, batch, record

Q = Key("team", "q")


class QuotasHarness:
    def __init__(self, harness: Harness, ledger: SqlLedger, events: FakeEvents, clock: FakeClock) -> None:
        self.harness, self.ledger, self.events, self.clock = harness, ledger, events, clock
        self.resources = FakeResources(harness.quotas)
        self.reconciler = QuotaReconciler(self.resources, harness.budgets, ledger, ResourceEvents(events), clock, 10)
        self.requests = 0

    async def use(self, requests: int = 1) -> None:
        for _ in range(requests):
            self.requests += 1
            used = batch(record(f"r{self.requests}", prompt_tokens=30, completion_tokens=20))
            await self.ledger.post([used], lambda *_: "q", Moment(STARTED_AT_MILLISECONDS))

    async def status(self) -> ArksQuotaStatus:
        assert Requeue(10) == await self.reconciler.reconcile(Q)
        status = self.resources.statuses[Q]
        assert isinstance(status, ArksQuotaStatus)
        return status


@pytest.fixture
def quotas(harness: Harness, ledger: SqlLedger, events: FakeEvents, clock: FakeClock) -> QuotasHarness:
    return QuotasHarness(harness, ledger, events, clock)


def used(status: ArksQuotaStatus) -> dict[str, int]:
    return {usage.type.value: usage.used for usage in status.quota_status}


async def test_usage_is_written_into_status_by_type(quotas: QuotasHarness) -> None:
    quotas.harness.add(quota(prompt=100, response=100, total=100))
    await quotas.use()
    status = await quotas.status()
    assert {"prompt": 30, "response": 20, "total": 50} == used(status)
    assert is_true(status.conditions, "Ready") and not is_true(status.conditions, "Exceeded")


async def test_the_time_of_the_last_change_is_that_of_the_last_use(quotas: QuotasHarness) -> None:
    quotas.harness.add(quota(total=1000))
    first = (await quotas.status()).quota_status[0].last_update_time
    quotas.clock.advance(10)
    assert first == (await quotas.status()).quota_status[0].last_update_time
    await quotas.use()
    quotas.clock.advance(10)
    assert datetime(2026, 1, 1, 0, 0, 20, tzinfo=UTC) == (await quotas.status()).quota_status[0].last_update_time


async def test_a_used_up_budget_is_published_once_and_again_when_it_has_room(quotas: QuotasHarness) -> None:
    quotas.harness.add(quota(total=100))
    await quotas.use(2)
    assert is_true((await quotas.status()).conditions, "Exceeded")
    await quotas.status()
    quotas.harness.add(quota(total=1000))
    quotas.harness.quotas.apply(Q, quota(total=1000).model_copy(update={"status": quotas.resources.statuses[Q]}))
    await quotas.status()
    assert ["quota.exhausted", "quota.available"] == [verb for verb, _, _ in quotas.events.published]


async def test_a_reset_starts_from_0_once(quotas: QuotasHarness) -> None:
    quotas.harness.add(quota(total=100, resets=1))
    await quotas.use()
    status = await quotas.status()
    assert ({"total": 0}, 1) == (used(status), status.reset_generation)
    await quotas.use()
    quotas.clock.advance(10)
    assert {"total": 50} == used(await quotas.status())
    assert ["quota.reset"] == [verb for verb, _, _ in quotas.events.published]


async def test_budgets_at_rest_cost_one_query_together(quotas: QuotasHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    request: list[str] = []

    def counted(name: str) -> None:
        question = getattr(quotas.ledger, name)

        async def counting(*arguments: object, **named: object) -> object:
            request.append(name)
            return await question(*arguments, **named)

        monkeypatch.setattr(quotas.ledger, name, counting)

    counted("budget_sums")
    counted("heads")
    keys = [Key("team", f"q{number}") for number in range(50)]
    quotas.harness.add(*(quota(key.name, total=100) for key in keys))
    for _ in range(2):
        for key in keys:
            await quotas.reconciler.reconcile(key)
    assert (50, 1) == (request.count("budget_sums"), request.count("heads"))
    quotas.clock.advance(10)
    await quotas.use()
    for key in keys:
        await quotas.reconciler.reconcile(key)
    assert (100, 2) == (
        request.count("budget_sums"),
        request.count("heads"),
    )  # a request of the namespace was charged


async def test_resets_are_remembered_by_the_ledger(quotas: QuotasHarness) -> None:
    quotas.harness.add(quota(total=100))
    await quotas.ledger.reset("team", "q", 4, Moment(1))
    await quotas.reconciler.load_resets()
    budget = quotas.harness.budgets.of("team", "q")
    assert budget is not None
    assert 4 == budget.generation


async def test_a_monthly_budget_shows_its_month(quotas: QuotasHarness) -> None:
    quotas.harness.add(quota(period="month", total=100))
    quotas.clock.advance(40 * 86_400)
    await quotas.use()
    status = await quotas.status()
    assert ({"total": 0}, datetime(2026, 2, 1, tzinfo=UTC)) == (used(status), status.period_start)


async def test_after_a_start_the_first_sums_of_quotas_with_current_status_are_spread(quotas: QuotasHarness) -> None:
    keys = [Key("team", f"q{number}") for number in range(50)]
    for key in keys:
        current = {"status": ArksQuotaStatus(observed_generation=1)}
        quotas.harness.quotas.apply(key, quota(key.name, total=100).model_copy(update=current))
    pauses = [await quotas.reconciler.reconcile(key) for key in keys]
    assert len(keys) == len({pause.after_seconds for pause in pauses if pause is not None})
    assert {} == quotas.resources.statuses
    assert Requeue(10) == await quotas.reconciler.reconcile(keys[0])
    assert [keys[0]] == list(quotas.resources.statuses)


async def test_a_quota_without_current_status_is_summed_at_once(quotas: QuotasHarness) -> None:
    quotas.harness.add(quota(total=100))
    assert 1 == (await quotas.status()).observed_generation


async def test_many_quotas_are_looked_at_no_more_often_together_than_a_few(quotas: QuotasHarness) -> None:
    many = [f"q{number}" for number in range(600)]
    for name in many:
        quotas.harness.add(quota(name, total=100))
    pauses = {await quotas.reconciler.reconcile(Key("team", name)) for name in many}
    assert {Requeue(600 / RECONCILES_PER_SECOND)} == pauses


async def test_after_a_start_many_quotas_are_summed_no_faster_than_later(quotas: QuotasHarness) -> None:
    current = {"status": ArksQuotaStatus(observed_generation=1)}
    for key in (many := [Key("team", f"q{number}") for number in range(600)]):
        quotas.harness.quotas.apply(key, quota(key.name, total=100).model_copy(update=current))
    pauses = [pause.after_seconds for key in many if (pause := await quotas.reconciler.reconcile(key)) is not None]
    assert 0.9 * 600 / RECONCILES_PER_SECOND < max(pauses) < 600 / RECONCILES_PER_SECOND
