"""How replicas are to be replaced, and a model of LeaderWorkerSet that shows that a replica always serves."""

import pytest

from arks.app_deployer.domain.surge import Leader, Rollout, plan, seconds_until_surge_ends

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


def test_room_is_given_up_when_only_the_one_too_many_lacks_it_for_long() -> None:
    waiting = Leader(1, ready=False, updated=True, unschedulable_seconds=10.0)
    assert 20.0 == seconds_until_surge_ends(1, [OLD, waiting], 30.0)
    assert -5.0 == seconds_until_surge_ends(1, [OLD, waiting], 5.0)
    assert seconds_until_surge_ends(2, [OLD, waiting], 5.0) is None
    assert seconds_until_surge_ends(1, [OLD, second(ready=False)], 5.0) is None
