"""The HTTPRoute of an endpoint that names a Gateway (`spec.gatewayRef`), and the endpoint's condition from it. Pure.

The route leads to Arks' own Envoy, never to engines: keys, limits and metering are there, and a route past it would
serve requests without a key. The model of a request is in its body, so routes with the same matches do not conflict.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from arks.contracts.resources import ArksEndpoint
from arks.kit.types import Json

CONDITION = "Attached"
LABELS = {"app.kubernetes.io/managed-by": "arks-endpoint-router"}
GRANT_LABELS = {**LABELS, "arks.ai/grant": "http-routes"}
"""Of the ReferenceGrants that endpoint-router writes."""
RECHECK_PENDING_SECONDS = 5.0
"""Until the next look at a route for which the Gateway has reported no status."""
RECHECK_BLOCKED_SECONDS = 60.0
"""Until the next attempt while something prevents the route."""
RECHECK_SETTLED_SECONDS = 300.0
"""Until the next look at a working route, which another writer may have changed."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """Whether the endpoint's Gateway leads to Arks; `reason` and `message` as in the condition."""

    attached: bool
    reason: str
    message: str
    recheck_seconds: float


@dataclass(frozen=True, slots=True)
class EnvoyService:
    """The Service of Arks' Envoy."""

    name: str
    namespace: str
    port: int


def http_route(endpoint: ArksEndpoint, envoy: EnvoyService) -> Json:
    """Return the route: it has the endpoint's name, and Kubernetes deletes it with the endpoint, its owner."""
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
        "spec": _spec(endpoint, envoy),
    }


def grant_name(namespace: str, envoy: EnvoyService) -> str:
    return f"{envoy.name}-from-{namespace}"


def reference_grant(namespace: str, envoy: EnvoyService, service: Json | None) -> Json:
    """Return what allows HTTPRoutes of a namespace to lead to Envoy. Kubernetes deletes it with Envoy's Service, its
    owner, which the chart makes; None: it does not exist."""
    owned = {} if service is None else {"ownerReferences": [_reference_to(service, envoy)]}
    return {
        "apiVersion": "gateway.networking.k8s.io/v1beta1",
        "kind": "ReferenceGrant",
        "metadata": {
            "name": grant_name(namespace, envoy),
            "namespace": envoy.namespace,
            "labels": GRANT_LABELS,
            **owned,
        },
        "spec": {
            "from": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": namespace}],
            "to": [{"group": "", "kind": "Service", "name": envoy.name}],
        },
    }


def _reference_to(service: Json, envoy: EnvoyService) -> Json:
    return {"apiVersion": "v1", "kind": "Service", "name": envoy.name, "uid": service["metadata"]["uid"]}


def _spec(endpoint: ArksEndpoint, envoy: EnvoyService) -> Json:
    reference = {} if endpoint.spec.gateway_ref is None else _manifest(endpoint.spec.gateway_ref)
    matches = [_manifest(match) for match in endpoint.spec.match_configs]
    to_envoy = {"name": envoy.name, "namespace": envoy.namespace, "port": envoy.port}
    # Arks' Envoy has its own timeouts; a timeout here would cut long answers.
    rule: Json = {"backendRefs": [to_envoy], "timeouts": {"request": "0s"}}
    return {"parentRefs": [reference], "rules": [rule | ({"matches": matches} if matches else {})]}


def _manifest(model: Any) -> Json:
    """Return the fields of a manifest, without those that it leaves out."""
    dumped: Json = model.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {name: value for name, value in dumped.items() if value != []}


def is_owned_by(route: Mapping[str, Any], endpoint: ArksEndpoint) -> bool:
    owners = route["metadata"].get("ownerReferences", [])
    return any(owner.get("controller") and owner["uid"] == endpoint.metadata.uid for owner in owners)


def owned_by_another(endpoint: ArksEndpoint) -> Attachment:
    message = f"HTTPRoute {endpoint.name} exists and does not belong to this endpoint: it is not changed"
    return Attachment(False, "RouteOfAnother", message, RECHECK_BLOCKED_SECONDS)


def no_gateway_api() -> Attachment:
    message = "this cluster has no HTTPRoutes (gateway.networking.k8s.io/v1): Arks' own Envoy serves the endpoint"
    return Attachment(False, "NoGatewayAPI", message, RECHECK_BLOCKED_SECONDS)


def rejected_by_api_server(error: Exception) -> Attachment:
    return Attachment(False, "RouteRefused", str(error), RECHECK_BLOCKED_SECONDS)


def attachment_of(route: Mapping[str, Any], endpoint: ArksEndpoint) -> Attachment:
    """Return the attachment from the status that the Gateway wrote to the route."""
    reference = endpoint.spec.gateway_ref
    gateway = reference.name if reference is not None else ""
    for parent in route.get("status", {}).get("parents", []):
        if parent["parentRef"]["name"] != gateway:
            continue
        for condition in parent.get("conditions", []):
            if condition["type"] in {"Accepted", "ResolvedRefs"} and condition["status"] == "False":
                message = f"Gateway {gateway}: {condition['reason']}: {condition['message']}"
                return Attachment(False, "GatewayRefuses", message, RECHECK_BLOCKED_SECONDS)
        return Attachment(True, "Attached", f"Gateway {gateway} leads to Arks' Envoy", RECHECK_SETTLED_SECONDS)
    message = f"Gateway {gateway} has not reported a status for the HTTPRoute"
    return Attachment(False, "GatewaySilent", message, RECHECK_PENDING_SECONDS)
