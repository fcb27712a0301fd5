"""Who can get an endpoint's traffic, and which part each application gets, before any load is considered.

All of this follows from the endpoint's spec and from facts. Load reports come a hundred times as often as these change,
so a roster is made once and serves many decisions.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum

from msgspec import Struct

from arks.contracts.facts import ReplicaState
from arks.contracts.load import stale_seconds
from arks.contracts.uses import HANG_UP
from arks.endpoint_router.domain.native import Pools, apportion
from arks.endpoint_router.domain.replicas import Application, ReplicaId, RoutedReplica, usable_address
from arks.endpoint_router.domain.shares import EndpointSpec, Share, shares

WEIGHT_TOTAL = 100_000
"""Sum of the weights of an endpoint's groups: a weight of 1,000 is one percent of the traffic."""


class Reason(StrEnum):
    """Why an endpoint is ready or not; reasons of its Ready condition."""

    ROUTED = "Routed"
    NO_READY_REPLICAS = "NoReadyReplicas"
    NO_APPLICATION = "NoApplication"


class Portion(Struct, frozen=True, gc=False):
    """An application's share of the endpoint's traffic."""

    share: Share
    fraction: float
    """0 to 1. The fraction of an application without a ready replica goes to the others."""
    ready: int
    replicas: int


class Pool(Struct, frozen=True):
    """One application of an endpoint."""

    portion: Portion
    weight: int
    """Its part of WEIGHT_TOTAL."""
    replicas: tuple[RoutedReplica, ...]
    """All, sorted by name."""
    excluded: Mapping[ReplicaId, str]
    """Those that get no traffic, each with the reason."""

    @property
    def application(self) -> str:
        return self.portion.share.application

    @property
    def ready(self) -> Iterator[RoutedReplica]:
        """Yield those that can get traffic."""
        return (replica for replica in self.replicas if replica.id not in self.excluded)


class Roster(Struct, frozen=True):
    spec: EndpointSpec
    applications: Mapping[str, Application]
    """What it was made from, like `spec`. It does not change."""
    pools: tuple[Pool, ...]
    """In the order of shares: static entries first."""
    compared: Pools
    """The same, as their replicas are compared."""
    portions: tuple[Portion, ...]
    """Those of the pools."""
    shares_differ: bool
    reason: Reason
    message: str
    unrouted: tuple[str, ...]
    """Messages about static entries that cannot be followed."""
    engine_model: str
    """The name under which its engines serve the model: that of the application with the largest share."""
    unsupported: tuple[str, ...]
    """What at least one of its applications takes in a request and does not keep, sorted."""
    joins_streams: bool
    """Its engines end the work for a client that leaves for streams only, so they make a stream of each answer."""
    routed: frozenset[ReplicaId]
    """The replicas that get traffic."""
    slots_differ: bool
    """Slots of all of these are known, and are not the same."""

    @property
    def endpoint(self) -> str:
        return f"{self.spec.namespace}/{self.spec.name}"

    def is_for(self, spec: EndpointSpec, applications: Mapping[str, Application]) -> bool:
        """Return whether a roster made from these would be equal: they are the same, not only equal."""
        return spec is self.spec and applications is self.applications

    def is_like(self, other: "Roster") -> bool:
        """Return whether Envoy and users would see no difference, if the weights are the same."""
        return self is other or (
            self._shown == other._shown
            and [pool.replicas for pool in self.pools] == [pool.replicas for pool in other.pools]
        )

    def routes_like(self, other: "Roster") -> bool:
        """Return whether the same replicas get traffic, for the same reason."""
        return self is other or (self.routed == other.routed and self.reason == other.reason)

    @property
    def _shown(self) -> tuple[object, ...]:
        served = self.engine_model, self.unsupported, self.joins_streams
        return self.spec.load_limit_percent, self.reason, self.message, self.unrouted, self.routed, served


def roster(spec: EndpointSpec, applications: Mapping[str, Application]) -> Roster:
    found = shares(spec, applications)
    excluded = _exclude(found.shares, applications)
    portions = _portions(found.shares, excluded, applications)
    weighted = zip(portions, apportion([portion.fraction for portion in portions], WEIGHT_TOTAL), strict=True)
    reason, message = _summary(spec, portions)
    engine_model, names_differ = _engine_model(portions, applications)
    unsupported = [applications[share.application].unsupported for share in found.shares]
    pools = tuple(_pool(portion, weight, applications, excluded) for portion, weight in weighted)
    slots = {replica.slots for pool in pools for replica in pool.ready}
    return Roster(
        spec=spec,
        applications=applications,
        pools=pools,
        compared=_compared(pools),
        portions=portions,
        shares_differ=found.differ,
        reason=reason,
        message=message,
        unrouted=(*found.unrouted, *names_differ),
        engine_model=engine_model,
        unsupported=tuple(sorted({what for names in unsupported for what in names})),
        joins_streams=bool(unsupported) and all(HANG_UP in names for names in unsupported),
        routed=frozenset(replica.id for pool in pools for replica in pool.ready),
        slots_differ=len(slots) > 1 and 0 not in slots,
    )


def _pool(
    portion: Portion, weight: int, applications: Mapping[str, Application], excluded: Mapping[ReplicaId, str]
) -> Pool:
    replicas = sorted(applications[portion.share.application].replicas, key=lambda replica: replica.id)
    return Pool(
        portion,
        weight,
        replicas=tuple(replicas),
        excluded={replica.id: excluded[replica.id] for replica in replicas if replica.id in excluded},
    )


def _compared(pools: Iterable[Pool]) -> Pools:
    return Pools(
        [
            (
                pool.application,
                pool.weight,
                [(each.id.name, each.id.restarts, each.slots, each.id not in pool.excluded) for each in pool.replicas],
                stale_seconds(pool.portion.ready),
                stale_seconds(pool.portion.ready, idle=True),
            )
            for pool in pools
        ]
    )


def _exclude(found: Iterable[Share], applications: Mapping[str, Application]) -> dict[ReplicaId, str]:
    """Return the replicas that get no traffic, each with the reason.

    Of several replicas with the same address one counts, a ready one if possible: Envoy would reject the second.
    """
    weights = {share.application: share.weight for share in found}
    replicas = [replica for name in weights for replica in applications[name].replicas]
    excluded: dict[ReplicaId, str] = {}
    used: set[tuple[str, int]] = set()
    for replica in sorted(replicas, key=lambda replica: (replica.state is not ReplicaState.READY, replica.id)):
        reason = _exclusion_reason(replica, weights[replica.id.application])
        if not reason and (replica.host, replica.port) in used:
            reason = f"another replica has its address {replica.address}"
        if reason:
            excluded[replica.id] = reason
        else:
            used.add((replica.host, replica.port))
    return excluded


def _exclusion_reason(replica: RoutedReplica, weight: int) -> str:
    if replica.state is ReplicaState.STARTING:
        return "starting: its model has not answered yet"
    if replica.state is ReplicaState.FAILED:
        return "failed"
    if replica.state is ReplicaState.DRAINING:
        return "draining: it finishes what it has"
    if not usable_address(replica):
        return f"'{replica.address}' is not an IP address and port"
    return f"application {replica.id.application} has weight 0" if weight == 0 else ""


def _portions(
    found: Sequence[Share], excluded: Mapping[ReplicaId, str], applications: Mapping[str, Application]
) -> tuple[Portion, ...]:
    replicas = {share.application: applications[share.application].replicas for share in found}
    ready = {name: sum(replica.id not in excluded for replica in members) for name, members in replicas.items()}
    total = sum(share.weight for share in found if ready[share.application])
    return tuple(
        Portion(
            share=share,
            fraction=share.weight / total if ready[share.application] else 0.0,
            ready=ready[share.application],
            replicas=len(replicas[share.application]),
        )
        for share in found
    )


def _engine_model(portions: Sequence[Portion], applications: Mapping[str, Application]) -> tuple[str, tuple[str, ...]]:
    """Return the name that requests carry to engines, and a message for users if not all applications serve it."""
    served = {portion.share.application: applications[portion.share.application].served_model for portion in portions}
    if not served:
        return "", ()
    first = max(portions, key=lambda portion: portion.fraction).share.application
    others = [f"{name} ({model})" for name, model in served.items() if model != served[first]]
    if not others:
        return served[first], ()
    message = f"requests name the model {served[first]}; other names are served by {', '.join(others)}"
    return served[first], (message,)


def _summary(spec: EndpointSpec, portions: Sequence[Portion]) -> tuple[Reason, str]:
    if not portions:
        return Reason.NO_APPLICATION, f"no application serves the model {spec.model} in namespace {spec.namespace}"
    names = ", ".join(f"{portion.share.application} ({_state(portion)})" for portion in portions)
    if any(portion.ready for portion in portions):
        return Reason.ROUTED, f"requests go to {names}"
    return Reason.NO_READY_REPLICAS, f"no ready replicas: {names}"


def _state(portion: Portion) -> str:
    if not portion.replicas:
        return "it has none"
    if portion.share.weight == 0:
        return "weight 0"  # its replicas may be ready
    return f"{portion.ready} of {portion.replicas} replicas ready, {portion.fraction:.0%}"
