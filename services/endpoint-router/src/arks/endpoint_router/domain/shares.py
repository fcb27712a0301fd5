"""What each application gets of an endpoint's traffic, before any load is looked at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from arks.endpoint_router.domain.replicas import Application

SERVICE_PREFIX = "arks-application-"
"""Name of the Service of an application; static entries name it."""


@dataclass(frozen=True, slots=True)
class StaticRoute:
    """One entry of `spec.routeConfigs`."""

    name: str
    weight: int | None = None
    port: int | None = None
    namespace: str | None = None
    kind: str | None = None
    filtered: bool = False
    """It asks for filters, which an Envoy driven by Arks does not apply."""


@dataclass(frozen=True, slots=True)
class EndpointSpec:
    namespace: str
    name: str
    """The public model name: applications that serve it are found by it."""
    default_weight: int = 1
    routes: tuple[StaticRoute, ...] = ()


@dataclass(frozen=True, slots=True)
class Share:
    """What one application should get, relative to the others."""

    application: str
    weight: int
    static: bool
    port: int | None = None


@dataclass(frozen=True, slots=True)
class Shares:
    shares: tuple[Share, ...]
    """Static entries first, in their order, then those found by name, sorted."""
    unrouted: tuple[str, ...]
    """For people: which static entries cannot be followed, and why."""

    @property
    def differ(self) -> bool:
        return len({share.weight for share in self.shares}) > 1


def shares(spec: EndpointSpec, applications: Mapping[str, Application]) -> Shares:
    """Static entries hold; every other application whose served model is the endpoint's name gets `default_weight`."""
    static, unrouted = _static(spec, applications)
    found = [
        Share(name, spec.default_weight, static=False)
        for name, application in sorted(applications.items())
        if application.served_model == spec.name and name not in static
    ]
    return Shares((*static.values(), *found), tuple(unrouted))


def applications_named(routes: Sequence[StaticRoute]) -> frozenset[str]:
    """Applications that static entries name, whatever model they serve."""
    return frozenset(
        route.name.removeprefix(SERVICE_PREFIX) for route in routes if route.name.startswith(SERVICE_PREFIX)
    )


def _static(spec: EndpointSpec, applications: Mapping[str, Application]) -> tuple[dict[str, Share], list[str]]:
    """Entries that name the same application twice add up, as two backends of one route do."""
    static: dict[str, Share] = {}
    unrouted: list[str] = []
    for number, route in enumerate(spec.routes):
        problem = _problem(spec, route, applications)
        if problem is not None:
            unrouted.append(f"routeConfigs[{number}] '{route.name}' {problem}")
            continue
        name = route.name.removeprefix(SERVICE_PREFIX)
        weight = 1 if route.weight is None else route.weight
        before = static[name].weight if name in static else 0
        static[name] = Share(name, before + weight, static=True, port=route.port)
        if route.filtered:
            unrouted.append(f"routeConfigs[{number}] '{route.name}' is routed without its filters")
    return static, unrouted


def _problem(spec: EndpointSpec, route: StaticRoute, applications: Mapping[str, Application]) -> str | None:
    if route.namespace not in {None, spec.namespace}:
        return f"is in namespace {route.namespace}: only applications of {spec.namespace} are routed"
    if route.kind not in {None, "Service"} or not route.name.startswith(SERVICE_PREFIX):
        return f"is not the Service of an application ({SERVICE_PREFIX}<name>): nothing else can be routed here"
    if route.name.removeprefix(SERVICE_PREFIX) not in applications:
        return f"names an application that does not exist in namespace {spec.namespace} or has not reported replicas"
    return None
