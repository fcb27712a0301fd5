from typing import Any

import pytest

from arks.kit.key import Key
from arks.kit.testing.clock import FakeClock
from arks.token_quota.domain.keys import KeyClaim
from arks.token_quota.service.lease_changes import ALL, LeaseChanges, LeaseWatch
from arks.token_quota.service.ports.counters import CountersUnavailable
from arks.token_quota.testing.fakes import FakeCounters, Harness, quota, token

CHARGED: list[dict[str, Any]] = [{"arksEndpoint": {"name": "qwen"}, "quota": {"name": "q"}}]
TOM, QWEN = "token:team/tom", "endpoint:team/qwen"


@pytest.fixture
def watch(harness: Harness, counters: FakeCounters, clock: FakeClock) -> LeaseWatch:
    watch = LeaseWatch(harness.index, counters, clock)
    harness.endpoint()
    harness.add(token(qos=CHARGED), token("tim", "sk-tim"), quota(total=10))
    clock.advance(60)
    return watch


async def ended(watch: LeaseWatch, life: str = "life1") -> tuple[str, ...]:
    return (await watch.since(life, 1000)).ended


async def test_nothing_ends_while_nothing_changes(watch: LeaseWatch, harness: Harness) -> None:
    assert LeaseChanges("life1", ()) == await watch.since("life1", 1000)
    harness.endpoint()
    harness.add(quota(total=10))
    assert () == await ended(watch)


async def test_a_changed_token_ends_its_leases(watch: LeaseWatch, harness: Harness, clock: FakeClock) -> None:
    harness.add(token(qos=[]))
    assert (TOM,) == await ended(watch)
    clock.advance(4)
    assert () == await ended(watch)
    harness.tokens.apply(Key("team", "tom"), None)
    assert (TOM,) == await ended(watch)


async def test_a_key_that_is_replaced_in_its_secret_ends_the_leases_of_its_token(
    watch: LeaseWatch, harness: Harness, clock: FakeClock
) -> None:
    harness.claim(Key("team", "tom"), KeyClaim(harness.index.hash("sk-first")))
    clock.advance(60)
    assert () == await ended(watch)
    harness.claim(Key("team", "tom"), KeyClaim(harness.index.hash("sk-other")))
    assert (TOM,) == await ended(watch)


async def test_other_limits_of_a_budget_end_the_leases_of_its_tokens(watch: LeaseWatch, harness: Harness) -> None:
    harness.add(quota(total=9))
    assert (TOM,) == await ended(watch)


async def test_a_reset_budget_ends_the_leases_of_its_tokens(watch: LeaseWatch, harness: Harness) -> None:
    harness.budgets.reset_done(Key("team", "q"), 1)
    assert (TOM,) == await ended(watch)


async def test_an_endpoint_that_is_not_ready_or_gone_ends_its_leases(
    watch: LeaseWatch, harness: Harness, clock: FakeClock
) -> None:
    harness.endpoint(ready=False)
    assert (QWEN,) == await ended(watch)
    clock.advance(4)
    harness.endpoints.apply(Key("team", "qwen"), None)
    assert (QWEN,) == await ended(watch)


async def test_a_tenant_with_many_changes_ends_no_lease_of_another(watch: LeaseWatch, harness: Harness) -> None:
    for number in range(150):
        harness.add(token(f"t{number}", f"sk-{number}", namespace="busy"))
    harness.add(token(qos=[]))
    assert ("namespace:busy", TOM) == await ended(watch)
    assert LeaseChanges("life1", ALL) == await watch.since("life1", 1000, by_namespace=False)


async def test_another_life_of_the_counters_ends_all_leases(watch: LeaseWatch, counters: FakeCounters) -> None:
    assert LeaseChanges("life1", ALL) == await watch.since("-", 1000)
    counters.life_id = "life2"
    assert LeaseChanges("life2", ALL) == await watch.since("life1", 1000)


async def test_a_worker_that_was_idle_for_long_starts_anew(watch: LeaseWatch) -> None:
    assert ALL == (await watch.since("life1", 2**31 - 1)).ended


async def test_without_counters_no_lease_is_confirmed(watch: LeaseWatch, counters: FakeCounters) -> None:
    counters.away = True
    with pytest.raises(CountersUnavailable):
        await watch.since("life1", 1000)
