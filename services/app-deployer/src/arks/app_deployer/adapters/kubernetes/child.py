"""An object that app-deployer created, reduced to what the service needs. Pure."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from arks.app_deployer.domain.launch.manifests import APPLIED, REVISION, WITHOUT_SURGE
from arks.kit.kube.managed_fields import LostField, our_fields
from arks.kit.kube.ownership import controller_of
from arks.kit.types import Json

_MOST_FIELDS = 5
_NOT_CONTENT = frozenset({"managedFields", "resourceVersion", "generation"})


@dataclass(frozen=True, slots=True)
class Child:
    uid: str
    application: str
    """Name of the resource that owns it."""
    owner: str
    """Kind of that resource."""
    owner_uid: str
    applied: str
    """Digest of the last desired state."""
    fields: str
    """The fields that app-deployer set last, as JSON: a change by another writer changes it."""
    replicas: int
    revision: str
    without_surge: str
    terminating: bool

    def belongs_to(self, application: str, owner: str) -> bool:
        return (self.application, self.owner) == (application, owner)


def read_child(obj: Json, manager: str) -> Child:
    """`manager`: the field manager of app-deployer."""
    metadata = obj["metadata"]
    annotations = metadata.get("annotations", {})
    controller = controller_of(obj) or {}
    return Child(
        uid=metadata.get("uid", ""),
        application=controller.get("name", ""),
        owner=controller.get("kind", ""),
        owner_uid=controller.get("uid", ""),
        applied=annotations.get(APPLIED, ""),
        fields=json.dumps(our_fields(obj, manager), separators=(",", ":")),
        replicas=obj.get("spec", {}).get("replicas", 0),
        revision=annotations.get(REVISION, ""),
        without_surge=annotations.get(WITHOUT_SURGE, ""),
        terminating="deletionTimestamp" in metadata,
    )


def same_content(before: Json, after: Json) -> bool:
    """Whether both versions of an object differ in nothing but bookkeeping and status."""
    return _content(before) == _content(after)


def _content(obj: Json) -> Json:
    metadata = {name: value for name, value in obj["metadata"].items() if name not in _NOT_CONTENT}
    return {**obj, "metadata": metadata, "status": None}


def describe(lost: Sequence[LostField]) -> str:
    """What was changed, and by whom, for a Kubernetes Event."""
    names = [field.path for field in lost]
    shown = ", ".join(names[:_MOST_FIELDS]) + (f" and {len(names) - _MOST_FIELDS} more" if len(names) > 5 else "")
    writers = sorted({field.writer for field in lost if field.writer})
    by = f" by {', '.join(writers)}" if writers else " by another writer"
    return f"{shown} changed{by}, set back"
