"""Reads stored resources. What this version cannot read keeps the last spec that it could: never a deleted resource."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from arks.contracts.conditions import set_condition
from arks.contracts.manifests.messages import field_path, sentence
from arks.contracts.resources import Condition, CustomResource, ObjectMeta, Resource, Status
from arks.kit.cache import Found, Unreadable
from arks.kit.types import Json

R = TypeVar("R", bound=Resource)
T = TypeVar("T")
ACCEPTED, INVALID_SPEC = "Accepted", "InvalidSpec"
"""Type and reason of the condition of a resource that cannot be read. Others do not have the condition, except
endpoints, whose owner sets it."""
_MESSAGE_CHARACTERS = 4000


def read_resource(kind: type[R], obj: Json, last: R | None) -> R | Unreadable[R]:
    """Read a stored object. If its spec cannot be read, keep that of `last` with the metadata and status of now.

    `last`: what was read of the same key before. Raises KeyError, TypeError for what is no object at all.
    """
    try:
        return kind.from_stored(obj)
    except ValidationError as error:
        metadata = obj["metadata"]
        return Unreadable(explain(error, kind), "deletionTimestamp" in metadata, _kept(obj, last))


def read_record(kind: type[R], obj: Json, keep: Callable[[R], T]) -> Found[T]:
    """Read a stored object and return what `keep` makes of it; its ValueError is a fault of the object. One that is
    being deleted and cannot be read counts as absent: records have no finalizers.
    """
    found = read_resource(kind, obj, None)
    if not isinstance(found, Unreadable):
        try:
            return keep(found)
        except ValueError as error:
            found = Unreadable(str(error), "deletionTimestamp" in obj["metadata"])
    return None if found.deleting else Unreadable(found.fault)


def _kept(obj: Json, last: R | None) -> R | None:
    """The last good resource, unless it is another one of the same name. It keeps its generation, which its spec is of:
    a status made from it must not claim to describe the newer one.
    """
    metadata = obj["metadata"]
    if last is None or last.metadata.uid != metadata.get("uid"):
        return None
    try:
        now = ObjectMeta.model_validate(metadata, by_alias=True, by_name=False, extra="allow")
    except ValidationError:
        return last
    changes: dict[str, Any] = {"metadata": now.model_copy(update={"generation": last.metadata.generation})}
    if isinstance(last, CustomResource):
        changes["status"] = last.read_status(obj.get("status"))
    return last.model_copy(update=changes)


def explain(error: ValidationError, kind: type[Resource]) -> str:
    """Return the faults with their fields, without values of secrets."""
    findings = error.errors(include_url=False, include_context=True)
    return "; ".join(f"{field_path(finding['loc'])}: {sentence(finding, kind)}" for finding in findings)


def with_fault(status: BaseModel, resource: object, unreadable: Unreadable[Any] | None, now: datetime) -> BaseModel:
    """The status that an owner writes, with the condition of a resource that cannot be read. `resource`: the last one
    that could be.
    """
    if unreadable is None or not isinstance(status, Status):
        return status
    before = getattr(resource, "status", None)
    stored = before.conditions if isinstance(before, Status) else []
    accepted = [condition for condition in stored if condition.type == ACCEPTED and condition.reason == INVALID_SPEC]
    others = [condition for condition in status.conditions if condition.type != ACCEPTED]
    generation = accepted[0].observed_generation if accepted else None
    conditions = unaccepted([*others, *accepted], unreadable.fault, generation, now)
    return status.model_copy(update={"conditions": conditions})


def unaccepted(conditions: list[Condition], fault: str, generation: int | None, now: datetime) -> list[Condition]:
    """The conditions with the one of a resource that cannot be read."""
    message = f"{fault}; the last spec that could be read stays in effect"[:_MESSAGE_CHARACTERS]
    return set_condition(conditions, ACCEPTED, False, INVALID_SPEC, message, now=now, observed_generation=generation)
