"""What neighbours say, in our own words: facts, load reports and resources as domain values. Pure."""

from google.protobuf.timestamp_pb2 import Timestamp

from arks.contracts.resources.endpoint import ArksEndpoint, RouteMatch
from arks.endpoint_router.domain import (
    Application,
    EndpointSpec,
    Reading,
    Replica,
    ReplicaId,
    State,
    StaticRoute,
)
from arks.events.v1.facts_pb2 import (
    REPLICA_STATE_DRAINING,
    REPLICA_STATE_FAILED,
    REPLICA_STATE_READY,
    ReplicasFact,
)
from arks.events.v1.load_pb2 import ReplicaLoad

_STATES = {
    REPLICA_STATE_READY: State.READY,
    REPLICA_STATE_DRAINING: State.DRAINING,
    REPLICA_STATE_FAILED: State.FAILED,
}
"""What is not in here, states of the future included, gets no traffic: starting."""

_EVERYTHING = RouteMatch()


def application(fact: ReplicasFact) -> Application:
    return Application(
        name=fact.application,
        served_model=fact.served_model,
        replicas=tuple(
            Replica(
                id=ReplicaId(fact.application, replica.name, replica.restarts),
                host=replica.host,
                port=replica.port,
                state=_STATES.get(replica.state, State.STARTING),
                slots=replica.slots,
            )
            for replica in fact.replicas
        ),
    )


def reading(load: ReplicaLoad, report_measured_at: Timestamp) -> Reading:
    """A signal that is absent stays absent."""
    at = load.measured_at if load.HasField("measured_at") else report_measured_at
    return Reading(
        measured_at=at.seconds + at.nanos / 1e9,
        running=load.running_requests if load.HasField("running_requests") else None,
        waiting=load.waiting_requests if load.HasField("waiting_requests") else None,
        drain_rate=load.drain_rate_per_second if load.HasField("drain_rate_per_second") else None,
        token_rate=load.generation_tokens_per_second if load.HasField("generation_tokens_per_second") else None,
        kv_usage=_kv_usage(load),
        slots=load.slots if load.HasField("slots") else 0,
        problem=load.problem,
    )


def _kv_usage(load: ReplicaLoad) -> float | None:
    """Absent where it only says how many slots are taken (llama.cpp): full slots are no pressure, a queue is."""
    if not load.HasField("kv_cache_usage_ratio"):
        return None
    usage = load.kv_cache_usage_ratio
    slots_taken = load.slots and abs(usage - min(1.0, load.running_requests / load.slots)) < 0.01
    return None if slots_taken else usage


def endpoint_spec(endpoint: ArksEndpoint) -> EndpointSpec:
    spec = endpoint.spec
    return EndpointSpec(
        namespace=endpoint.namespace,
        name=endpoint.name,
        default_weight=spec.default_weight,
        routes=tuple(
            StaticRoute(
                name=route.name,
                weight=route.weight,
                port=route.port,
                namespace=route.namespace,
                kind=route.kind,
                filtered=bool(route.filters),
            )
            for route in spec.route_configs
        ),
    )


def unmet_wishes(endpoint: ArksEndpoint, *, attached_elsewhere: bool = False) -> tuple[str, ...]:
    """What the spec asks for and an Envoy of Arks' own does not do, in words. `attached_elsewhere`: a route at the
    Gateway that it names does the rest.
    """
    wishes = []
    if endpoint.spec.gateway_ref is not None and not attached_elsewhere:
        wishes.append("gatewayRef has no effect here: Arks' own Envoy serves the endpoint")
    if not attached_elsewhere and _narrows(endpoint):
        wishes.append("matchConfigs narrow nothing here: every path of the API reaches the endpoint")
    return tuple(wishes)


def _narrows(endpoint: ArksEndpoint) -> bool:
    everything = all(
        match.path is None or (match.path.type, match.path.value) == ("PathPrefix", "/")
        for match in endpoint.spec.match_configs
    ) and all(match.model_copy(update={"path": None}) == _EVERYTHING for match in endpoint.spec.match_configs)
    return not everything
