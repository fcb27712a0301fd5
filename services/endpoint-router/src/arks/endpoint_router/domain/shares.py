"""Divide an endpoint's traffic between its applications, before any load is considered."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from arks.contracts.names import SERVICE_NAME_FORM, application_of_service
from arks.endpoint_router.domain.replicas import Application


@dataclass(frozen=True, slots=True)
class StaticRoute:
    """One entry of `spec.routeConfigs`."""

    name: str
    weight: int | None = None
    port: int | None = None
    namespace: str | None = None
    kind: str | None = None
    filtered: bool = False
    """The entry has filters, which Arks does not apply."""


@dataclass(frozen=True, slots=True)
class CanaryShare:
    """What a rollout gives to one application, whatever weights it has."""

    application: str
    percent: int


@dataclass(frozen=True, slots=True)
class EndpointSpec:
    namespace: str
    name: str
    default_weight: int = 1
    routes: tuple[StaticRoute, ...] = ()
    served_model: str = ""
    """The public model name; empty: `name`."""
    canary: CanaryShare | None = None
    load_limit_percent: int | None = None
    """With affinity: a replica is busy from this part of its share of the requests in flight on; None: no affinity."""

    @property
    def model(self) -> str:
        """Return the name whose applications belong to the endpoint."""
        return self.served_model or self.name


@dataclass(frozen=True, slots=True)
class Share:
    """The configured weight of one application, relative to those of the others."""

    application: str
    weight: int
    static: bool
    """From `routeConfigs`, not from `defaultWeight`."""
    port: int | None = None


@dataclass(frozen=True, slots=True)
class Shares:
    shares: tuple[Share, ...]
    """Static entries first, in their order; then applications found by their served model, sorted by name."""
    unrouted: tuple[str, ...]
    """Messages for users: static entries that cannot be followed, each with the reason."""

    @property
    def differ(self) -> bool:
        return len({share.weight for share in self.shares}) > 1


def shares(spec: EndpointSpec, applications: Mapping[str, Application]) -> Shares:
    """Return the share of each application.

    Static entries keep their weight; every other application that serves the endpoint's model gets `default_weight`.
    """
    static, unrouted = _static(spec, applications)
    found = [
        Share(name, spec.default_weight, static=False)
        for name, application in sorted(applications.items())
        if application.served_model == spec.model and name not in static
    ]
    both = (*static.values(), *found)
    if spec.canary is None:
        return Shares(both, tuple(unrouted))
    if spec.canary.application not in {share.application for share in both}:
        unrouted.append(f"rollout: {spec.canary.application} is not an application of this endpoint")
    return Shares(_with_canary(both, spec.canary), tuple(unrouted))


def _with_canary(found: Sequence[Share], canary: CanaryShare) -> tuple[Share, ...]:
    """Return shares in which the canary has its percentage, and the others divide the rest as they are weighted."""
    others = sum(share.weight for share in found if share.application != canary.application)
    weights = [
        canary.percent * (others or 1)
        if share.application == canary.application
        else (100 - canary.percent) * share.weight
        for share in found
    ]
    divisor = math.gcd(*weights) or 1
    return tuple(replace(share, weight=weight // divisor) for share, weight in zip(found, weights, strict=True))


def applications_named(routes: Sequence[StaticRoute]) -> frozenset[str]:
    """Return the applications that static entries name, whatever model they serve."""
    return frozenset(name for route in routes if (name := application_of_service(route.name)) is not None)


def _static(spec: EndpointSpec, applications: Mapping[str, Application]) -> tuple[dict[str, Share], list[str]]:
    """Return shares of static entries by application, and messages about the entries that are not followed.

    Weights of entries that name the same application add up, like those of two equal backends of an HTTPRoute.
    """
    static: dict[str, Share] = {}
    unrouted: list[str] = []
    for number, route in enumerate(spec.routes):
        name = application_of_service(route.name)
        problem = _problem(spec, route, name, applications)
        if name is None or problem is not None:
            unrouted.append(f"routeConfigs[{number}] '{route.name}' {problem}")
            continue
        weight = 1 if route.weight is None else route.weight
        earlier_weight = static[name].weight if name in static else 0
        static[name] = Share(name, earlier_weight + weight, static=True, port=route.port)
        if route.filtered:
            unrouted.append(f"routeConfigs[{number}] '{route.name}' is routed without its filters")
    return static, unrouted


def _problem(
    spec: EndpointSpec, route: StaticRoute, name: str | None, applications: Mapping[str, Application]
) -> str | None:
    """Return why an entry for application `name` cannot be followed; None if it can."""
    if route.namespace not in {None, spec.namespace}:
        return f"is in namespace {route.namespace}: only applications of {spec.namespace} are routed"
    if route.kind not in {None, "Service"} or name is None:
        return f"is not the Service of an application ({SERVICE_NAME_FORM}): nothing else can be routed here"
    if name not in applications:
        return f"names an application that does not exist in namespace {spec.namespace} or has not reported replicas"
    return None
