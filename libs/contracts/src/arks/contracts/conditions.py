"""Conditions: pure helpers. `now` is an argument; times change only when a status does."""

from collections.abc import Sequence
from datetime import datetime

from arks.contracts.resources.meta import Condition, ConditionStatus

NEW_INCOMING = "NewIncomming"
"""Reason of every condition before its first check. Spelled as clients of the API know it."""


def initial_conditions(
    types: Sequence[str], *, now: datetime, observed_generation: int | None = None
) -> list[Condition]:
    """All conditions of a new resource: False, not checked yet."""
    return [
        Condition(
            type=type_,
            status=ConditionStatus.FALSE,
            reason=NEW_INCOMING,
            message="",
            last_transition_time=now,
            observed_generation=observed_generation,
        )
        for type_ in types
    ]


def find_condition(conditions: Sequence[Condition], type_: str) -> Condition | None:
    return next((condition for condition in conditions if condition.type == type_), None)


def is_true(conditions: Sequence[Condition], type_: str) -> bool:
    condition = find_condition(conditions, type_)
    return condition is not None and condition.status is ConditionStatus.TRUE


def set_condition(
    conditions: Sequence[Condition],
    type_: str,
    status: ConditionStatus | bool,
    reason: str,
    message: str = "",
    *,
    now: datetime,
    observed_generation: int | None = None,
) -> list[Condition]:
    """The conditions with this one set; `lastTransitionTime` is `now` only if `status` changed. Order is kept."""
    desired = status if isinstance(status, ConditionStatus) else ConditionStatus(str(status))
    before = find_condition(conditions, type_)
    unchanged = before is not None and before.status is desired
    after = Condition(
        type=type_,
        status=desired,
        reason=reason,
        message=message,
        last_transition_time=before.last_transition_time if before is not None and unchanged else now,
        observed_generation=observed_generation,
    )
    if before is None:
        return [*conditions, after]
    return [after if condition is before else condition for condition in conditions]
