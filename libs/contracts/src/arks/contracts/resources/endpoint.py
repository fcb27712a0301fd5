"""ArksEndpoint: a public model name and the applications behind it."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from arks.contracts.resources.affinity import EndpointAffinity
from arks.contracts.resources.application import ServedModelName
from arks.contracts.resources.canary import EndpointRollout, EndpointRolloutStatus
from arks.contracts.resources.meta import AGE, KIND, READY, REASON, SPEC, WHY, CustomResource, PrinterColumn, Status
from arks.contracts.resources.schema import ApiModel, Count32, ObjectName, Passthrough, Port

MAX_ROUTES = 16
MAX_WEIGHT = 1_000_000
"""Gateway API's limit."""

Weight = Annotated[int, Field(ge=0, le=MAX_WEIGHT, json_schema_extra={"format": "int32"})]


class GatewayRef(ApiModel):
    """A Gateway that leads to Arks' Envoy (Gateway API ParentReference)."""

    group: str | None = Field(default=None, max_length=253, description="API group; default gateway.networking.k8s.io.")
    kind: str | None = Field(default=None, max_length=63, description="Kind; default Gateway.")
    namespace: str | None = Field(default=None, max_length=63, description="Namespace; default is the endpoint's.")
    name: ObjectName = Field(description="Name of the Gateway.")
    section_name: str | None = Field(default=None, max_length=253, description="Listener of the Gateway.")
    port: Port | None = Field(default=None, description="Port of the listener.")


class PathMatch(ApiModel):
    """How the path of a request has to look."""

    type: Literal["Exact", "PathPrefix", "RegularExpression"] = Field(
        default="PathPrefix", description="How to compare."
    )
    value: str = Field(default="/", max_length=1024, description="Path to compare with.")


class RouteMatch(ApiModel):
    """Which requests the endpoint takes (Gateway API HTTPRouteMatch)."""

    path: PathMatch | None = Field(default=None, description="Match by path.")
    headers: list[Passthrough] = Field(default_factory=list, max_length=16, description="Match by headers.")
    query_params: list[Passthrough] = Field(
        default_factory=list, max_length=16, description="Match by query parameters."
    )
    method: str | None = Field(default=None, max_length=16, description="Match by method.")


class BackendRef(ApiModel):
    """A backend with its weight (Gateway API HTTPBackendRef)."""

    group: str | None = Field(default=None, max_length=253, description="API group; empty means core.")
    kind: str | None = Field(default=None, max_length=63, description="Kind; default Service.")
    name: ObjectName = Field(description="Name of the backend.")
    namespace: str | None = Field(default=None, max_length=63, description="Namespace; default is the endpoint's.")
    port: Port | None = Field(default=None, description="Port of the backend.")
    weight: Weight | None = Field(default=None, description="Share among the backends; default 1.")
    filters: list[Passthrough] = Field(default_factory=list, max_length=16, description="Filters of this backend.")


def _default_matches() -> list[RouteMatch]:
    return [RouteMatch(path=PathMatch(type="PathPrefix", value="/"))]


class ArksEndpointSpec(ApiModel):
    """Distribution of the traffic of one public model name."""

    served_model_name: ServedModelName | None = Field(
        default=None,
        description="Name that clients use, as a hub writes it; default `metadata.name`, which works as well.",
    )
    default_weight: Weight = Field(
        default=1, description="Weight of each application that is discovered by its served name."
    )
    gateway_ref: GatewayRef | None = Field(
        default=None,
        description="Gateway that leads to Arks' Envoy too, if the operator allows routes; otherwise without effect.",
    )
    match_configs: list[RouteMatch] = Field(
        default_factory=_default_matches, max_length=MAX_ROUTES, description="Requests that the endpoint accepts."
    )
    route_configs: list[BackendRef] = Field(
        default_factory=list,
        max_length=MAX_ROUTES,
        description="Explicit backends; they take precedence over discovered ones.",
    )
    affinity: EndpointAffinity | None = Field(
        default=None,
        description="Send requests that share a session or a prompt to the same replica; absent: where most is free.",
    )
    rollout: EndpointRollout | None = Field(
        default=None, description="Move the traffic to one application in steps; measurements promote or roll back."
    )


class ReplicaWeight(ApiModel):
    """Weight of one replica, with its reason."""

    application: str = Field(description="Application of the replica.")
    replica: str = Field(description="Name of the replica.")
    address: str = Field(description="host:port.")
    weight: Count32 = Field(description="Its weight in Envoy.")
    group: str = Field(default="", description="Its group: replicas that are alike, a locality in Envoy.")
    reason: str = Field(default="", max_length=1024, description="Reason of the weight.")


class EngineSignals(ApiModel):
    """What the metrics pages of an application's engines are."""

    application: str = Field(description="Application of the engines.")
    looks_like: list[str] = Field(
        default_factory=list, max_length=16, description="Versions that print such pages; several during an upgrade."
    )
    lacks: list[str] = Field(
        default_factory=list, max_length=16, description="Signals that the page of at least one engine lacks."
    )


class ArksEndpointStatus(Status):
    """Observed state, written by endpoint-router."""

    condition_types: ClassVar[tuple[str, ...]] = ("Accepted", "Attached", "Progressing", "Ready", "RequestsWait")

    routes: list[BackendRef] = Field(default_factory=list, max_length=MAX_ROUTES, description="Backends as routed.")
    ready_replicas: Count32 = Field(default=0, description="Replicas that get traffic.")
    weights: list[ReplicaWeight] = Field(default_factory=list, description="Weight of each replica.")
    signal_source: str | None = Field(default=None, description="Source of the weights: engine, static or equal.")
    rollout: EndpointRolloutStatus | None = Field(default=None, description="Where the rollout is.")
    engines: list[EngineSignals] = Field(
        default_factory=list, max_length=MAX_ROUTES, description="What the metrics pages of its engines are."
    )


class ArksEndpoint(CustomResource[ArksEndpointSpec, ArksEndpointStatus]):
    """One public model name: the `model` of a request, served by every application with that served name."""

    plural: ClassVar[str] = "arksendpoints"
    singular: ClassVar[str] = "arksendpoint"
    short_names: ClassVar[tuple[str, ...]] = ("aep",)
    columns: ClassVar[tuple[PrinterColumn, ...]] = (
        AGE,
        PrinterColumn("Default Weight", ".spec.defaultWeight", "integer"),
        READY,
        PrinterColumn("Replicas", ".status.readyReplicas", "integer"),
        PrinterColumn("Weights", ".status.signalSource", wide=True),
        PrinterColumn("Model", ".spec.servedModelName", wide=True),
        REASON,
        WHY,
    )

    kind: Literal["ArksEndpoint"] = Field(default="ArksEndpoint", description=KIND)
    spec: ArksEndpointSpec = Field(default_factory=ArksEndpointSpec, description=SPEC)

    @property
    def served_name(self) -> str:
        """Public model name: applications that serve it belong to the endpoint."""
        return self.spec.served_model_name or self.name
