"""An endpoint behind a Gateway of the cluster (`spec.gatewayRef`): the HTTPRoute for it, and what is said of it. Pure.

The route leads to Arks' own Envoy, never to engines: keys, limits and metering are there, and a route past it would
serve everybody. Which model a request is for is in its body, so several routes with the same matches do no harm.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from arks.contracts.resources.endpoint import ArksEndpoint

CONDITION = "Attached"
LABELS = {"app.kubernetes.io/managed-by": "arks-endpoint-router"}
SOON_SECONDS, LATER_SECONDS, SETTLED_SECONDS = 5.0, 60.0, 300.0
"""When to look again: while a Gateway has not said anything; while something stands in the way; else, because somebody
may have changed the route."""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Attachment:
    """How an endpoint stands with its Gateway; as in its condition."""

    attached: bool
    reason: str
    message: str
    look_again_seconds: float


@dataclass(frozen=True, slots=True)
class Backend:
    """The Service of Arks' Envoy."""

    name: str
    namespace: str
    port: int


def http_route(endpoint: ArksEndpoint, backend: Backend) -> Json:
    """Named as the endpoint, which owns it: it goes when the endpoint goes."""
    owner = {
        "apiVersion": endpoint.api_version,
        "kind": endpoint.kind,
        "name": endpoint.name,
        "uid": endpoint.metadata.uid,
        "controller": True,
    }
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {
            "name": endpoint.name,
            "namespace": endpoint.namespace,
            "labels": LABELS,
            "ownerReferences": [owner],
        },
        "spec": _spec(endpoint, backend),
    }


def _spec(endpoint: ArksEndpoint, backend: Backend) -> Json:
    reference = {} if endpoint.spec.gateway_ref is None else _plain(endpoint.spec.gateway_ref)
    matches = [_plain(match) for match in endpoint.spec.match_configs]
    to_envoy = {"name": backend.name, "namespace": backend.namespace, "port": backend.port}
    # Envoy of Arks has the limits of time; one here would cut long answers.
    rule: Json = {"backendRefs": [to_envoy], "timeouts": {"request": "0s"}}
    return {"parentRefs": [reference], "rules": [rule | ({"matches": matches} if matches else {})]}


def _plain(model: Any) -> Json:
    """As the manifest had it: without what was left out."""
    dumped: Json = model.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {name: value for name, value in dumped.items() if value != []}


def is_of(route: Mapping[str, Any], endpoint: ArksEndpoint) -> bool:
    owners = route["metadata"].get("ownerReferences", [])
    return any(owner.get("controller") and owner["uid"] == endpoint.metadata.uid for owner in owners)


def says(found: object, wanted: object) -> bool:
    """Whether what was found holds what is wanted; the API server adds defaults."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(says(found.get(name), value) for name, value in wanted.items())
    if isinstance(wanted, list):
        if not isinstance(found, list) or len(found) != len(wanted):
            return False
        return all(says(one, other) for one, other in zip(found, wanted, strict=True))
    return found == wanted


def of_another(endpoint: ArksEndpoint) -> Attachment:
    message = f"HTTPRoute {endpoint.name} exists and is not of this endpoint: it is left alone"
    return Attachment(False, "RouteOfAnother", message, LATER_SECONDS)


def no_gateway_api() -> Attachment:
    message = "this cluster has no HTTPRoutes (gateway.networking.k8s.io/v1): Arks' own Envoy serves the endpoint"
    return Attachment(False, "NoGatewayAPI", message, LATER_SECONDS)


def refused(error: Exception) -> Attachment:
    return Attachment(False, "RouteRefused", str(error), LATER_SECONDS)


def written(route: Mapping[str, Any], endpoint: ArksEndpoint) -> Attachment:
    """What the Gateway says of the route."""
    reference = endpoint.spec.gateway_ref
    gateway = reference.name if reference is not None else ""
    for parent in route.get("status", {}).get("parents", []):
        if parent["parentRef"]["name"] != gateway:
            continue
        for condition in parent.get("conditions", []):
            if condition["type"] in {"Accepted", "ResolvedRefs"} and condition["status"] == "False":
                message = f"Gateway {gateway}: {condition['reason']}: {condition['message']}"
                return Attachment(False, "GatewayRefuses", message, LATER_SECONDS)
        return Attachment(True, "Attached", f"Gateway {gateway} leads to Arks' Envoy", SETTLED_SECONDS)
    return Attachment(False, "GatewaySilent", f"Gateway {gateway} has not said anything of the route", SOON_SECONDS)
