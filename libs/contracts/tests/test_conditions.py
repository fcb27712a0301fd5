"""Conditions change their time only when their status changes."""

from datetime import UTC, datetime

from arks.contracts.conditions import find_condition, initial_conditions, is_true, set_condition
from arks.contracts.resources import ArksApplicationStatus, ConditionStatus

THEN = datetime(2026, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 1, 2, tzinfo=UTC)


def test_new_conditions_are_false_and_not_looked_at() -> None:
    conditions = initial_conditions(ArksApplicationStatus.condition_types, now=THEN, observed_generation=1)
    assert ["Precheck", "Loaded", "Ready", "Progressing"] == [condition.type for condition in conditions]
    assert {("False", "NewIncomming", THEN, 1)} == {
        (condition.status, condition.reason, condition.last_transition_time, condition.observed_generation)
        for condition in conditions
    }


def test_a_changed_status_takes_the_new_time() -> None:
    conditions = set_condition(initial_conditions(["Ready"], now=THEN), "Ready", True, "Running", "up", now=NOW)
    assert NOW == conditions[0].last_transition_time
    assert is_true(conditions, "Ready")


def test_an_unchanged_status_keeps_its_time_while_reason_and_message_change() -> None:
    before = initial_conditions(["Ready"], now=THEN)
    [after] = set_condition(before, "Ready", ConditionStatus.FALSE, "Loading", "40 %", now=NOW, observed_generation=7)
    assert (THEN, "Loading", "40 %", 7) == (
        after.last_transition_time,
        after.reason,
        after.message,
        after.observed_generation,
    )


def test_others_and_their_order_stay() -> None:
    before = initial_conditions(ArksApplicationStatus.condition_types, now=THEN)
    after = set_condition(before, "Loaded", True, "ModelLoadSucceeded", now=NOW)
    assert [c.type for c in before] == [c.type for c in after]
    assert (before[0], before[2]) == (after[0], after[2])


def test_a_condition_that_is_new_is_added() -> None:
    assert find_condition([], "Ready") is None
    assert not is_true([], "Ready")
    conditions = set_condition([], "Ready", False, "Starting", now=NOW)
    assert NOW == conditions[0].last_transition_time
