"""What changes for resources of the Go implementation (arks.ai/v1 up to v0.2) once Arks takes them over. Pure.

Input are objects as `kubectl get -o yaml` prints them. No text contains a key of a token.
"""

import json
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from arks.local.manifests import parse_manifests
from arks.local.render.yaml_text import to_yaml

Object = Mapping[str, Any]
OWN_GROUP = "arks.ai/"
_SERVER_FIELDS = frozenset({"name", "namespace", "labels", "annotations"})
"""Of metadata; the API server writes the others."""


class Level(StrEnum):
    ERROR = "error"
    """Arks refuses the resource, or leaves it as it is."""
    CHANGE = "change"
    """It goes on, and differs from before."""
    STEP = "step"
    """It needs a person."""


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    about: str
    """`ArksModel team-a/qwen`."""
    level: Level
    text: str


def objects_of(documents: Sequence[Object]) -> list[Object]:
    """The objects of all documents and of the lists in them; what is no object is left out."""
    found: list[Object] = []
    for document in documents:
        if str(document.get("kind")).endswith("List"):
            found += objects_of([item for item in document.get("items") or [] if isinstance(item, dict)])
        elif isinstance(document.get("metadata"), dict):
            found.append(document)
    return found


def findings(objects: Sequence[Object]) -> list[Finding]:
    """In the order of the objects' names."""
    found = [Finding(_about(obj), level, text) for obj in objects for level, text in _of_object(obj)]
    return sorted([*found, *_of_tokens(objects), *_of_routes(objects)])


def ownership_commands(objects: Sequence[Object]) -> list[str]:
    """Commands that give each endpoint its HTTPRoute, which the Go implementation wrote without an owner. The route
    serves on meanwhile: nothing but its owner changes."""
    return [
        f"kubectl -n {shlex.quote(_namespace(route))} patch httproute {shlex.quote(_name(route))} --type merge "
        f"-p {shlex.quote(json.dumps({'metadata': {'ownerReferences': [_owner(endpoint)]}}))}"
        for endpoint, route in _routes_without_owner(objects)
    ]


def _of_object(obj: Object) -> Iterator[tuple[Level, str]]:
    if str(obj.get("apiVersion", "")).startswith(OWN_GROUP):
        yield from ((Level.ERROR, text) for text in _errors(obj))
    reader = _READERS.get(str(obj.get("kind")))
    if reader is not None:
        yield from reader(obj)


def _errors(obj: Object) -> list[str]:
    """What validation finds in the parts that people write."""
    metadata = {name: value for name, value in obj["metadata"].items() if name in _SERVER_FIELDS}
    written = {name: obj[name] for name in ("apiVersion", "kind", "spec") if name in obj} | {"metadata": metadata}
    errors = parse_manifests([("", to_yaml(written))]).errors
    return [f"{error.field}: {error.message}" if error.field else error.message for error in errors]


def _of_application(obj: Object) -> Iterator[tuple[Level, str]]:
    spec, status = obj.get("spec", {}), obj.get("status") or {}
    if "replicas" not in spec:
        yield (
            Level.CHANGE,
            "replicas is absent: one replica starts; before there was none. Write replicas: 0 to keep it",
        )
    if status.get("phase") == "Failed":
        yield Level.CHANGE, "it is Failed: it is tried again"
    if spec.get("runtime") == "sglang" and "--trust-remote-code" not in " ".join(spec.get("runtimeCommonArgs", [])):
        yield (
            Level.CHANGE,
            "--trust-remote-code is not set any more: models with own code need it in runtimeCommonArgs",
        )
    yield Level.CHANGE, "its engines are replaced once, because their command line and probes change"


def _of_disaggregated(obj: Object) -> Iterator[tuple[Level, str]]:
    yield Level.CHANGE, "its engines and its router are replaced once; the router gets an account of its own"


def _of_model(obj: Object) -> Iterator[tuple[Level, str]]:
    if (obj.get("status") or {}).get("phase") == "Failed":
        yield Level.CHANGE, "it is Failed: it is tried again"
    if (obj.get("spec") or {}).get("source"):
        yield Level.CHANGE, "a Job checks its files against the source; the pod of its first download may be deleted"


def _of_quota(obj: Object) -> Iterator[tuple[Level, str]]:
    used = {item["type"]: item.get("used", 0) for item in (obj.get("status") or {}).get("quotaStatus") or []}
    if any(used.values()):
        listed = ", ".join(f"{kind} {amount}" for kind, amount in sorted(used.items()) if amount)
        yield Level.CHANGE, f"usage counts from 0 in the new ledger: lower the limits by what is used ({listed})"


def _of_group_set(obj: Object) -> Iterator[tuple[Level, str]]:
    yield (
        Level.STEP,
        "Arks runs the application as a LeaderWorkerSet of its own beside it, behind the same Service: delete this "
        "RoleBasedGroupSet once the application is Ready, or before if the nodes do not suffice for both",
    )


def _of_route_name(obj: Object) -> Iterator[tuple[Level, str]]:
    if _name(obj) in {"arks-reserved-router", "arks-gateway-http-router"}:
        yield Level.STEP, "it leads to the former gateway plugin: delete it when clients use Arks' Envoy"


_READERS = {
    "ArksApplication": _of_application,
    "ArksDisaggregatedApplication": _of_disaggregated,
    "ArksModel": _of_model,
    "ArksQuota": _of_quota,
    "RoleBasedGroupSet": _of_group_set,
    "HTTPRoute": _of_route_name,
}


def _of_tokens(objects: Sequence[Object]) -> Iterator[Finding]:
    """Keys that several tokens have, and what tokens name and does not exist."""
    tokens = [obj for obj in objects if obj.get("kind") == "ArksToken"]
    known: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
    for obj in objects:
        known[str(obj.get("kind"))].add((_namespace(obj), _name(obj)))
    keys = Counter(str(token["spec"].get("token")) for token in tokens if token.get("spec", {}).get("token"))
    for token in tokens:
        spec, about = token.get("spec") or {}, _about(token)
        if keys[str(spec.get("token"))] > 1:
            yield Finding(about, Level.CHANGE, "another token has the same key: the older one keeps it")
        for qos in spec.get("qos") or []:
            for field, kind in (("arksEndpoint", "ArksEndpoint"), ("quota", "ArksQuota")):
                name = (qos.get(field) or {}).get("name")
                if name and (_namespace(token), name) not in known[kind]:
                    yield Finding(about, Level.STEP, f"{kind} {name} does not exist in its namespace")


def _of_routes(objects: Sequence[Object]) -> Iterator[Finding]:
    for endpoint, route in _routes_without_owner(objects):
        text = f"HTTPRoute {_name(route)} has no owner, so Arks leaves it as it is: --take-ownership prints the command"
        yield Finding(_about(endpoint), Level.STEP, text)


def _routes_without_owner(objects: Sequence[Object]) -> list[tuple[Object, Object]]:
    """(endpoint, route of its name)."""
    routes = {(_namespace(obj), _name(obj)): obj for obj in objects if obj.get("kind") == "HTTPRoute"}
    endpoints = [obj for obj in objects if obj.get("kind") == "ArksEndpoint"]
    pairs = [(endpoint, routes.get((_namespace(endpoint), _name(endpoint)))) for endpoint in endpoints]
    return [(endpoint, route) for endpoint, route in pairs if route and not route["metadata"].get("ownerReferences")]


def _owner(endpoint: Object) -> dict[str, Any]:
    names = {"apiVersion": endpoint["apiVersion"], "kind": "ArksEndpoint", "name": _name(endpoint)}
    return {**names, "uid": endpoint["metadata"].get("uid", ""), "controller": True, "blockOwnerDeletion": True}


def _about(obj: Object) -> str:
    return f"{obj.get('kind')} {_namespace(obj)}/{_name(obj)}"


def _name(obj: Object) -> str:
    return str(obj["metadata"].get("name", ""))


def _namespace(obj: Object) -> str:
    return str(obj["metadata"].get("namespace", "default"))
