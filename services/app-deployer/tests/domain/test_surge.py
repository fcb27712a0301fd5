"""How replicas are to be replaced, and a model of LeaderWorkerSet that shows that a replica always serves."""

from dataclasses import replace

import pytest

from arks.app_deployer.domain.surge import Leader, Patience, Rollout, plan, seconds_until_surge_ends

OLD = Leader(0, ready=True, updated=False)
NEW = Leader(0, ready=True, updated=True)
LOADING = Leader(0, ready=False, updated=True)


def second(*, ready: bool, updated: bool = True) -> Leader:
    return Leader(1, ready=ready, updated=updated)


@pytest.mark.parametrize(
    ("why", "leaders", "replicas"),
    [
        ("it is new", [], 1),
        ("it loads", [LOADING], 1),
        ("it serves the newest spec", [NEW], 1),
        ("an old one serves", [OLD], 2),
        ("its successor loads", [OLD, second(ready=False)], 2),
        ("its successor serves", [OLD, second(ready=True)], 2),
        ("it is being replaced", [second(ready=True)], 2),
        ("its replacement loads", [LOADING, second(ready=True)], 2),
        ("it has been replaced", [NEW, second(ready=True)], 1),
        ("it was of more, all new", [NEW, second(ready=False)], 1),
        ("an old one has crashed: nothing to protect", [Leader(0, ready=False, updated=False)], 1),
        ("an old one has crashed, its like does not count", [LOADING, second(ready=True, updated=False)], 1),
    ],
)
def test_a_single_replica_has_a_second_one_while_it_is_replaced(why: str, leaders: list[Leader], replicas: int) -> None:
    assert (why, Rollout(replicas, 1, 0)) == (why, plan(1, leaders, without_surge=False))


def test_several_replicas_lose_none_while_they_are_replaced() -> None:
    assert Rollout(3, 0, 1) == plan(3, [OLD], without_surge=False)


@pytest.mark.parametrize("desired", [0, 1, 3])
def test_without_room_old_ones_make_it(desired: int) -> None:
    assert Rollout(desired, 1, 0) == plan(desired, [OLD], without_surge=True)


def remaining(*leaders: Leader, desired: int = 1, missing_seconds: float | None = None) -> float | None:
    return seconds_until_surge_ends(desired, leaders, Patience(30.0, 900.0), missing_seconds=missing_seconds)


def test_room_is_given_up_when_only_the_one_too_many_lacks_it_for_long() -> None:
    waiting = Leader(1, ready=False, updated=True, blocked_seconds=10.0)
    assert 20.0 == remaining(OLD, waiting)
    assert -5.0 == remaining(OLD, replace(waiting, blocked_seconds=35.0))
    assert remaining(OLD, waiting, desired=2) is None
    assert remaining(OLD, second(ready=False)) is None


def test_a_surge_waits_longer_for_a_node_that_an_autoscaler_makes() -> None:
    assert 865.0 == remaining(OLD, Leader(1, ready=False, updated=True, blocked_seconds=35.0, node_expected=True))


def test_a_surge_that_a_quota_refuses_is_given_up() -> None:
    """No additional pod exists, so none can be unschedulable: this rollout stood forever."""
    assert 18.0 == remaining(OLD, missing_seconds=12.0)
    several = [Leader(index, ready=True, updated=False) for index in range(3)]
    assert -1.0 == remaining(*several, desired=3, missing_seconds=31.0)
    assert remaining(NEW, missing_seconds=31.0) is None, "nothing rolls out: a replica more would not fit either"
    assert remaining(OLD, second(ready=True), missing_seconds=31.0) is None
