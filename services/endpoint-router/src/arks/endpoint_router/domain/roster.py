"""Who can get an endpoint's traffic, and which part each application gets, before any load is considered.

All of this follows from the endpoint's spec and from facts. Load reports come a hundred times as often as these change,
so a roster is made once and serves many decisions.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from arks.contracts.facts import ReplicaState
from arks.contracts.uses import HANG_UP
from arks.endpoint_router.domain.decision import Portion, Reason
from arks.endpoint_router.domain.replicas import Application, ReplicaId, RoutedReplica, usable_address
from arks.endpoint_router.domain.shares import EndpointSpec, Share, shares

WEIGHT_TOTAL = 100_000
"""Sum of the weights of an endpoint's groups: a weight of 1,000 is one percent of the traffic."""


class Pool(Struct, frozen=True):
    """One application of an endpoint."""

    portion: Portion
    weight: int
    """Its part of WEIGHT_TOTAL."""
    ready: tuple[RoutedReplica, ...]
    """Those that can get traffic."""
    replicas: tuple[RoutedReplica, ...]
    """All, sorted by name."""
    excluded: Mapping[ReplicaId, str]
    """Those that get no traffic, each with the reason."""

    @property
    def application(self) -> str:
        return self.portion.share.application


class Roster(Struct, frozen=True):
    spec: EndpointSpec
    applications: Mapping[str, Application]
    """What it was made from, like `spec`."""
    pools: tuple[Pool, ...]
    """In the order of shares: static entries first."""
    portions: tuple[Portion, ...]
    """Those of the pools."""
    shares_differ: bool
    reason: Reason
    message: str
    unrouted: tuple[str, ...]
    engine_model: str
    unsupported: tuple[str, ...]
    joins_streams: bool

    @property
    def endpoint(self) -> str:
        return f"{self.spec.namespace}/{self.spec.name}"

    def is_for(self, spec: EndpointSpec, applications: Mapping[str, Application]) -> bool:
        """Return whether a roster made from these would be equal: they are the same, not only equal."""
        mine = self.applications
        return (
            spec is self.spec
            and len(applications) == len(mine)
            and all(mine.get(name) is application for name, application in applications.items())
        )


def roster(spec: EndpointSpec, applications: Mapping[str, Application]) -> Roster:
    found = shares(spec, applications)
    excluded = _exclude(found.shares, applications)
    portions = _portions(found.shares, excluded, applications)
    weighted = zip(portions, apportion([portion.fraction for portion in portions], WEIGHT_TOTAL), strict=True)
    reason, message = _summary(spec, portions)
    engine_model, names_differ = _engine_model(portions, applications)
    unsupported = [applications[share.application].unsupported for share in found.shares]
    return Roster(
        spec=spec,
        applications=dict(applications),
        pools=tuple(_pool(portion, weight, applications, excluded) for portion, weight in weighted),
        portions=portions,
        shares_differ=found.differ,
        reason=reason,
        message=message,
        unrouted=(*found.unrouted, *names_differ),
        engine_model=engine_model,
        unsupported=tuple(sorted({what for names in unsupported for what in names})),
        joins_streams=bool(unsupported) and all(HANG_UP in names for names in unsupported),
    )


def _pool(
    portion: Portion, weight: int, applications: Mapping[str, Application], excluded: Mapping[ReplicaId, str]
) -> Pool:
    replicas = applications[portion.share.application].replicas
    return Pool(
        portion,
        weight,
        ready=tuple(replica for replica in replicas if replica.id not in excluded),
        replicas=tuple(sorted(replicas, key=lambda replica: replica.id)),
        excluded={replica.id: excluded[replica.id] for replica in replicas if replica.id in excluded},
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
    names = ", ".join(
        f"{portion.share.application} ({portion.ready} of {portion.replicas} replicas ready, {portion.fraction:.0%})"
        for portion in portions
    )
    if any(portion.ready for portion in portions):
        return Reason.ROUTED, f"requests go to {names}"
    weightless = [portion.share.application for portion in portions if portion.share.weight == 0]
    hint = f"; weight 0: {', '.join(weightless)}" if weightless else ""
    return Reason.NO_READY_REPLICAS, f"no ready replicas: {names}{hint}"


def apportion(shares: Sequence[float], total: int) -> list[int]:
    """Return integers in proportion to the shares that add up to `total`, by the largest remainders.

    A share above 0 gets at least 1, so the sum is greater if there are more shares than `total`.
    """
    whole = math.fsum(shares)
    exact = [share / whole * total if whole else 0.0 for share in shares]
    parts = [max(int(amount), 1 if amount > 0 else 0) for amount in exact]
    missing = (total if whole else 0) - sum(parts)
    order = sorted(range(len(parts)), key=lambda number: (parts[number] - exact[number], number))
    for number in order[: max(0, missing)]:
        parts[number] += 1
    if missing < 0:
        greatest = max(range(len(parts)), key=lambda number: (parts[number], -number))
        parts[greatest] = max(1, parts[greatest] + missing)
    return parts
