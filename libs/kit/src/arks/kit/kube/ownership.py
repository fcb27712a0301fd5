"""Objects that a resource owns: never written, scaled or deleted unless the resource is their controller.

Server-side apply by itself changes whatever object has the name, and an owner reference in it makes Kubernetes delete
that object with our resource. So an object is created by POST, which fails if the name is in use, and changed only in
the version in which its owner was checked.
"""

from arks.kit.errors import Conflict, NotFound
from arks.kit.kube.api import KubeApi, key_of_object
from arks.kit.kube.kinds import Kind
from arks.kit.kube.managed_fields import as_applied
from arks.kit.types import Json

NAME_CONFLICT = "NameConflict"
"""Reason of a condition: an object that the resource needs to make exists and has another owner."""


class NameConflict(Conflict):
    """An object with the name of a desired one belongs to another owner, or to none."""


def controller_of(obj: Json) -> Json | None:
    """The owner reference of the object's controller."""
    references = obj["metadata"].get("ownerReferences") or []
    return next((reference for reference in references if reference.get("controller")), None)


def belongs_to(obj: Json, owner: Json) -> bool:
    """Return whether the resource of the reference `owner` is the object's controller, in this life or an earlier one.

    An earlier resource of the same kind and name had another uid. The new one takes its objects over, before
    Kubernetes deletes them as orphans and engines stop.
    """
    found = controller_of(obj)
    return found is not None and _identity(found) == _identity(owner)


def _identity(reference: Json) -> tuple[str, str, str]:
    group = str(reference.get("apiVersion", "")).partition("/")[0]
    return group, str(reference.get("kind", "")), str(reference.get("name", ""))


async def find(api: KubeApi, kind: Kind, desired: Json) -> Json | None:
    """Return the existing object with the name of `desired`. Raises ArksError; NameConflict if it is of another."""
    found = await api.get(kind, key_of_object(desired))
    if found is not None:
        owner = controller_of(desired) or {}
        check(kind, found, owner, owner)
    return found


def check(kind: Kind, found: Json, owner: Json, resource: Json) -> None:
    """Raise NameConflict unless `owner` is the controller of `found`. `resource`: which the message is about."""
    if belongs_to(found, owner):
        return
    other = controller_of(found)
    whose = f"belongs to {other.get('kind')} {other.get('name')}" if other else "has no owner"
    raise NameConflict(
        f"{kind.kind} {key_of_object(found).name} exists and {whose}, so it is not changed: delete or rename it, or "
        f"give {resource.get('kind')} {resource.get('name')} another name"
    )


async def write(api: KubeApi, kind: Kind, desired: Json, found: Json | None) -> Json:
    """Create the object, or set our fields of `found` as it was read. Raises ArksError.

    Conflict: another writer created, changed or replaced it meanwhile; nothing was written.
    """
    if found is None:
        return await api.create(kind, desired)
    found = await _ours_by_apply(api, kind, found)
    return await api.apply(kind, {**desired, "metadata": desired["metadata"] | _version(found)})


async def _ours_by_apply(api: KubeApi, kind: Kind, found: Json) -> Json:
    """The object, after a change of its managed fields if a creation or a merge of ours set some."""
    entries = as_applied(found, api.field_manager)
    if entries == found["metadata"].get("managedFields", []):
        return found
    version = {"op": "replace", "path": "/metadata/resourceVersion", "value": found["metadata"]["resourceVersion"]}
    fields = {"op": "replace", "path": "/metadata/managedFields", "value": entries}
    try:
        return await api.json_patch(kind, key_of_object(found), [fields, version])
    except NotFound as error:
        raise Conflict(f"deleted meanwhile: {error}") from error


def _version(found: Json) -> Json:
    """Both: with a resourceVersion alone, server-side apply would create an object that was deleted meanwhile."""
    return {name: found["metadata"][name] for name in ("uid", "resourceVersion")}
