from arks.kit.key import Key
from arks.token_quota.testing.fakes import Harness, quota

Q = Key("team", "q")


def test_a_reset_by_another_replica_is_read_from_status(harness: Harness) -> None:
    stored = quota(total=5).model_dump(mode="json", by_alias=True) | {"status": {"resetGeneration": 3}}
    harness.add(type(quota()).from_stored(stored))
    budget = harness.budgets.of("team", "q")
    assert budget is not None
    assert 3 == budget.generation


def test_an_older_reset_does_not_follow_a_newer_one(harness: Harness) -> None:
    harness.add(quota(total=5))
    for generation in (2, 1):
        harness.budgets.reset_done(Q, generation)
    assert 2 == harness.budgets.resets(Q)


def test_only_a_budget_that_differs_is_a_change_and_only_its_begin_and_end_one_of_existence(harness: Harness) -> None:
    changed: list[Key] = []
    existence: list[Key] = []
    harness.budgets.changes.subscribe(changed.append)
    harness.budgets.existence_changes.subscribe(existence.append)
    for total in (5, 5, 6):
        harness.add(quota(total=total))
    assert ([Q, Q], [Q]) == (changed, existence)
    harness.quotas.apply(Q, None)
    assert ([Q, Q, Q], [Q, Q]) == (changed, existence)
