"""Parts of pod templates that come from `instanceSpec`, and owner references. Pure."""

from collections.abc import Mapping, Sequence

from arks.contracts.resources import OWNED_PREFIX, ArksInstanceSpec, ImagePullSecret, Resource
from arks.kit.types import Json

PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_CONTAINER_FIELDS = frozenset({"securityContext", "resources", "lifecycle", "env", "volumeMounts", *PROBES})
_OTHER_FIELDS = frozenset({"replicas", "labels", "annotations", "podSecurityContext", "volumes"})
_NOT_OF_POD = _CONTAINER_FIELDS | _OTHER_FIELDS


def template_metadata(spec: ArksInstanceSpec, labels: Mapping[str, str]) -> Json:
    """Return the spec's labels and annotations with `labels` added. Only `labels` may set labels of our group.

    New specs have no keys of our group; earlier versions stored some.
    """
    metadata: Json = {"labels": {**_not_owned(spec.labels), **labels}}
    if annotations := _not_owned(spec.annotations):
        metadata["annotations"] = annotations
    return metadata


def _not_owned(given: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in given.items() if not name.startswith(OWNED_PREFIX)}


def pod_fields(spec: ArksInstanceSpec) -> Json:
    """Return the fields of `spec` that belong in a pod's spec, without volumes and containers."""
    given = spec.to_dict()
    fields = {name: value for name, value in given.items() if name not in _NOT_OF_POD}
    if "podSecurityContext" in given:
        fields["securityContext"] = given["podSecurityContext"]
    return fields


def container_fields(spec: ArksInstanceSpec, names: Sequence[str]) -> Json:
    """Return the fields of `spec` that are in `names`, for the container."""
    given = spec.to_dict()
    return {name: given[name] for name in names if name in given}


def pull_secrets(secrets: Sequence[ImagePullSecret]) -> Json:
    """Return the pod's field `imagePullSecrets`, or nothing if there are none."""
    return {"imagePullSecrets": [secret.to_dict() for secret in secrets]} if secrets else {}


def owner_reference(owner: Resource) -> Json:
    """Return a reference for the owned object: it is deleted with its owner, and a foreground deletion waits for it."""
    return {
        "apiVersion": owner.api_version,
        "kind": owner.kind,
        "name": owner.name,
        "uid": owner.metadata.uid or "",
        "controller": True,
        "blockOwnerDeletion": True,
    }
