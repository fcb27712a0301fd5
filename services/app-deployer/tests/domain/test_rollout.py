from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arks.app_deployer.domain.rollout import Plan, Step, Verb, plan
from arks.app_deployer.domain.workload import ENDED, ObservedReplica
from arks.contracts.resources import InstanceState

STARTING, LOADING, READY = InstanceState.STARTING, InstanceState.LOADING, InstanceState.READY
DRAINING, BACK_OFF, FAILED = InstanceState.DRAINING, InstanceState.BACK_OFF, InstanceState.FAILED
PLENTY = 99


def new(number: int, state: InstanceState = READY) -> ObservedReplica:
    return ObservedReplica(f"app-{number}", state)


def old(number: int, state: InstanceState = READY) -> ObservedReplica:
    return ObservedReplica(f"app-{number}", state, updated=False)


def start(*numbers: int) -> tuple[Step, ...]:
    return tuple(Step(Verb.START, f"app-{number}") for number in numbers)


def drain(*numbers: int) -> tuple[Step, ...]:
    return tuple(Step(Verb.DRAIN, f"app-{number}") for number in numbers)


def stop(*numbers: int) -> tuple[Step, ...]:
    return tuple(Step(Verb.STOP, f"app-{number}") for number in numbers)


@pytest.mark.parametrize(
    ("why", "replicas", "steps"),
    [
        ("an old one makes room although there is memory", [old(0), old(1)], drain(1)),
        ("nothing starts while it drains", [old(0), old(1, DRAINING)], ()),
        ("then a new one starts", [old(0)], start(1)),
        ("the next waits until it serves", [old(0), new(1, LOADING)], ()),
        ("the next old one stops", [old(0), new(1)], drain(0)),
        ("old ones stay while the new one fails", [old(0), new(1, BACK_OFF)], ()),
        ("all are new", [new(0), new(1)], ()),
    ],
)
def test_without_surge_an_update_never_runs_more_than_desired(
    why: str, replicas: list[ObservedReplica], steps: tuple[Step, ...]
) -> None:
    assert (why, steps) == (why, plan("app", 2, replicas, room=PLENTY, without_surge=True).steps)


@pytest.mark.parametrize(
    ("why", "desired", "replicas", "room", "steps"),
    [
        ("a new application starts all at once", 2, [], PLENTY, start(0, 1)),
        ("what runs stays", 2, [new(0), new(1)], PLENTY, ()),
        ("what starts is waited for", 2, [new(0), new(1, STARTING)], PLENTY, ()),
        ("scaling up takes the lowest free number", 3, [new(0), new(2)], PLENTY, start(1)),
        ("the name of one that drains is not free", 1, [new(0, DRAINING)], PLENTY, start(1)),
        ("scaling down drains the highest number", 1, [new(0), new(1)], PLENTY, drain(1)),
        ("scaling down takes those that do not serve first", 1, [new(0, LOADING), new(1)], PLENTY, stop(0)),
        ("scaling down takes ended ones before loading ones", 1, [new(0, FAILED), new(1, LOADING)], PLENTY, stop(0)),
        ("scaling to zero drains all", 0, [new(0), new(1)], PLENTY, drain(0, 1)),
        ("what drains is left alone", 0, [new(0, DRAINING)], PLENTY, ()),
        ("an ended one waits for its time", 1, [new(0, BACK_OFF)], PLENTY, ()),
        ("an update starts one more first", 2, [old(0), old(1)], PLENTY, start(2)),
        ("an update waits until it is ready", 2, [old(0), old(1), new(2, LOADING)], PLENTY, ()),
        ("then one old one drains and the next starts", 2, [old(0), old(1), new(2)], PLENTY, (*drain(1), *start(3))),
        ("the next starts while it drains", 2, [old(0), old(1, DRAINING), new(2)], PLENTY, start(3)),
        ("an update of a single replica too", 1, [old(0)], PLENTY, start(1)),
        ("an old one that does not serve goes at once", 1, [old(0, LOADING)], PLENTY, (*stop(0), *start(1))),
        ("an old one that ended goes at once", 1, [old(0, BACK_OFF)], PLENTY, (*stop(0), *start(1))),
        ("old ones stay while the new one fails", 2, [old(0), old(1), new(2, BACK_OFF)], PLENTY, ()),
        ("without memory an old one makes room", 2, [old(0), old(1)], 0, drain(1)),
        ("one at a time", 2, [old(0), old(1, DRAINING)], 0, ()),
        ("nor two at once without memory", 2, [old(0), old(1), new(2)], 0, drain(1)),
        ("and not while a new one loads", 2, [old(0), new(1, LOADING)], 0, ()),
        ("room that is left is used", 2, [], 1, start(0)),
        (
            "scaling down during an update drains old ones",
            1,
            [old(0), old(1), old(2)],
            PLENTY,
            (*drain(1, 2), *start(3)),
        ),
    ],
)
def test_next_steps(
    why: str, desired: int, replicas: list[ObservedReplica], room: int, steps: tuple[Step, ...]
) -> None:
    assert steps == plan("app", desired, replicas, room=room).steps, why


def test_an_ended_replica_starts_again_under_its_name_when_its_time_has_come() -> None:
    replicas = [new(0, BACK_OFF), new(1, FAILED)]
    assert start(1) == plan("app", 2, replicas, room=PLENTY, due=frozenset({"app-1"})).steps


def test_a_replica_that_does_not_fit_into_memory_is_reported() -> None:
    assert Plan((), short_of_memory=True) == plan("app", 1, [], room=0)
    assert Plan(start(1), short_of_memory=True) == plan("app", 3, [new(0)], room=1)
    assert Plan(()) == plan("app", 1, [new(0)], room=0)


def test_a_mistyped_number_of_replicas_costs_no_more_than_those_that_fit() -> None:
    decided = plan("app", 2**31 - 1, [new(0)], room=2)
    assert (start(1, 2), True) == (decided.steps, decided.short_of_memory)


def test_an_old_replica_keeps_serving_if_even_its_end_makes_no_room() -> None:
    decided = plan("app", 1, [old(0)], room=0, room_without_outdated=0)
    assert ((), True) == (decided.steps, decided.short_of_memory)


def test_only_so_many_load_at_once_and_the_others_are_held_back() -> None:
    assert Plan(start(0, 1), held_back=True) == plan("app", 5, [], room=PLENTY, at_once=2)
    assert Plan((), held_back=True) == plan("app", 5, [new(0, LOADING)], room=PLENTY, at_once=0)
    assert Plan(start(1)) == plan("app", 2, [new(0)], room=PLENTY, at_once=1)


def test_memory_is_not_short_while_a_replica_drains() -> None:
    assert not plan("app", 1, [old(0)], room=0).short_of_memory
    assert not plan("app", 1, [old(0, DRAINING)], room=0).short_of_memory


def _state_changes(replicas: list[ObservedReplica], decided: Plan, choice: int) -> list[ObservedReplica]:
    """Do the steps, then let one replica move on: load, answer, leave or end."""
    after = {replica.name: replica for replica in replicas}
    for step in decided.steps:
        if step.verb is Verb.START:
            after[step.replica] = ObservedReplica(step.replica, STARTING)
        elif step.verb is Verb.DRAIN:
            after[step.replica] = replace(after[step.replica], state=DRAINING)
        else:
            del after[step.replica]
    moving = [replica for replica in after.values() if replica.state in {STARTING, LOADING, DRAINING}]
    if moving:
        item = moving[choice % len(moving)]
        if item.state is DRAINING:
            del after[item.name]
        else:
            after[item.name] = replace(item, state=LOADING if item.state is STARTING else READY)
    return list(after.values())


_REPLICAS = st.lists(
    st.builds(
        lambda state, updated: ObservedReplica("", state, updated=updated),
        st.sampled_from(InstanceState),
        st.booleans(),
    ),
    max_size=6,
).map(lambda replicas: [replace(replica, name=f"app-{number}") for number, replica in enumerate(replicas)])


@given(_REPLICAS, st.integers(0, 4), st.booleans(), st.lists(st.integers(0, 5), min_size=120, max_size=120))
def test_from_any_state_an_update_ends_with_just_what_is_wanted_and_serves_throughout(
    replicas: list[ObservedReplica], desired: int, roomy: bool, choices: list[int]
) -> None:
    capacity = max(desired + 1, len(replicas)) if roomy else max(1, desired)
    floor = 0
    for choice in choices:
        existing = sum(replica.state not in ENDED for replica in replicas)
        all_replicas = frozenset(replica.name for replica in replicas)
        decided = plan("app", desired, replicas, room=max(0, capacity - existing), due=all_replicas)
        replicas = _state_changes(replicas, decided, choice)
        serving = sum(replica.state is READY for replica in replicas)
        if roomy:
            assert serving >= floor, "an update must not take away what serves"
            floor = min(desired, max(floor, serving))
    assert [READY] * desired == [replica.state for replica in replicas]
    assert all(replica.updated for replica in replicas)


def test_of_replicas_that_serve_those_with_the_least_work_are_removed_first() -> None:
    replicas = [new(0), new(1), new(2)]
    work = {"app-0": 1.0, "app-1": 0.0, "app-2": 5.0}
    assert drain(1) == plan("app", 2, replicas, room=PLENTY, work=work).steps
    assert set(drain(0, 1)) == set(plan("app", 1, replicas, room=PLENTY, work=work).steps)
    assert drain(2) == plan("app", 2, replicas, room=PLENTY).steps


def test_a_replica_that_loads_is_removed_before_an_idle_one_that_serves() -> None:
    assert stop(0) == plan("app", 1, [new(0, LOADING), new(1)], room=PLENTY, work={"app-1": 0.0}).steps
