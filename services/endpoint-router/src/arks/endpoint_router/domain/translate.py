"""Facts and resources as values of the domain. Pure."""

from arks.contracts.facts import replica_facts
from arks.contracts.resources import ArksEndpoint, ArksEndpointStatus, RouteMatch
from arks.endpoint_router.domain.native import Report
from arks.endpoint_router.domain.replicas import Application, Pages, ReplicaId, RoutedReplica
from arks.endpoint_router.domain.rollout import Phase, Plan, Rollout
from arks.endpoint_router.domain.shares import CanaryShare, EndpointSpec, StaticRoute
from arks.events.v1.facts_pb2 import ReplicasFact

_EVERYTHING = RouteMatch()


def application(fact: ReplicasFact) -> Application:
    return Application(
        name=fact.application,
        served_model=fact.served_model,
        replicas=tuple(
            RoutedReplica(
                id=ReplicaId(fact.application, replica.name, replica.restarts),
                host=replica.host,
                port=replica.port,
                state=replica.state,
                slots=replica.slots,
            )
            for replica in replica_facts(fact)
        ),
        unsupported=tuple(fact.unsupported),
    )


def pages(report: Report) -> Pages:
    return Pages(report.application, tuple(report.page_versions), tuple(report.missing_signals))


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
        served_model=spec.served_model_name or "",
        canary=_canary_share(endpoint),
        load_limit_percent=spec.affinity.max_load_percent if spec.affinity is not None else None,
    )


def rollout_plan(endpoint: ArksEndpoint) -> Plan | None:
    given = endpoint.spec.rollout
    if given is None:
        return None
    return Plan(
        canary=given.canary,
        steps=tuple(given.steps),
        step_seconds=given.step_seconds,
        minimum_requests=given.minimum_requests,
        error_points=given.error_points,
        slower_percent=given.slower_percent,
        command=given.command,
    )


def rollout_of(endpoint: ArksEndpoint, status: ArksEndpointStatus | None) -> Rollout | None:
    """Return where the rollout is according to the status; None if it has not begun. Another canary begins anew."""
    given, written = endpoint.spec.rollout, status.rollout if status is not None else None
    if given is None or written is None or written.canary != given.canary:
        return None
    return Rollout(
        written.canary,
        Phase(written.phase),
        *(written.step, written.percent, written.since.timestamp(), written.message),
    )


def _canary_share(endpoint: ArksEndpoint) -> CanaryShare | None:
    """Return the canary's share: that of the status, so that all routers agree; none until the rollout has begun."""
    if endpoint.spec.rollout is None:
        return None
    rollout = rollout_of(endpoint, endpoint.status)
    return CanaryShare(endpoint.spec.rollout.canary, rollout.percent if rollout is not None else 0)


def unsupported_settings(endpoint: ArksEndpoint, *, attached: bool = False) -> tuple[str, ...]:
    """Return messages about settings of the spec that have no effect.

    `attached`: an HTTPRoute at the Gateway of `gatewayRef` carries these settings out.
    """
    messages = []
    if endpoint.spec.gateway_ref is not None and not attached:
        messages.append("gatewayRef has no effect here: Arks' own Envoy serves the endpoint")
    if not attached and _narrows(endpoint):
        messages.append("matchConfigs are ignored here: the endpoint accepts every API path")
    return tuple(messages)


def _narrows(endpoint: ArksEndpoint) -> bool:
    """Return whether `matchConfigs` exclude any request."""
    everything = all(
        match.path is None or (match.path.type, match.path.value) == ("PathPrefix", "/")
        for match in endpoint.spec.match_configs
    ) and all(match.model_copy(update={"path": None}) == _EVERYTHING for match in endpoint.spec.match_configs)
    return not everything
