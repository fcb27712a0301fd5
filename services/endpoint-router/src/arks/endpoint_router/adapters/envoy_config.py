"""Turn decisions into clusters and load assignments in the snapshot that the xDS server pushes to Envoys."""

from collections.abc import Callable

from arks.contracts.facts import ReplicaState
from arks.endpoint_router.adapters.envoy import GatewaySettings, cluster, collector_cluster, listener, runtime
from arks.endpoint_router.adapters.envoy.messages import Cluster
from arks.endpoint_router.adapters.envoy.runtime import LAYER
from arks.endpoint_router.adapters.xds import CLUSTER, ENDPOINT, LISTENER, RUNTIME, ConfigSnapshot
from arks.endpoint_router.domain import Decision, Limits, Roster, RoutedReplica, Sites, usable_address

RETRY_SECONDS = 5.0
"""Interval at which a rejected listener is pushed again: the port that was in use may be free by then."""
UNLIMITED = Limits()


class SnapshotEnvoyConfig:
    """Configuration of endpoints, and of the gateway itself: its listener and the cluster of token-quota."""

    def __init__(self, snapshot: ConfigSnapshot, open_server: Callable[[], None]) -> None:
        """`open_server`: lets the xDS server push the snapshot."""
        self._snapshot = snapshot
        self._open_server = open_server
        self._gateway_resources: set[tuple[str, str]] = set()
        """(type, name) of the resources that do not depend on endpoints."""
        self._clusters: dict[str, tuple[int | None, bool]] = {}
        """Endpoint -> what its cluster depends on: the limit of the load, and whether streams are joined."""
        self._sites: dict[str, tuple[Roster, Sites]] = {}
        """Endpoint -> the roster of its last decision, and where its replicas are."""
        self._limits: dict[str, Limits] = {}
        """By endpoint, without those that have none."""
        self._limits_changed = True
        self._rejections: dict[tuple[str, str], str] = {}
        """Envoy's messages about these resources, the newest of each."""
        self._retry_at = 0.0

    # --- endpoints

    def route(self, name: str, decision: Decision, known_at: float) -> None:
        self._snapshot.put_encoded(ENDPOINT, name, self._assignment(name, decision), known_at)
        self._set_limits(name, decision.limits)
        self._put_cluster(name, decision.roster, known_at)

    def _assignment(self, name: str, decision: Decision) -> bytes:
        roster, sites = self._sites.get(name) or (None, None)
        if sites is None or roster is not decision.roster:
            sites = _sites(decision.roster)
            self._sites[name] = decision.roster, sites
        return decision.comparisons.load_assignment(name, sites)

    def hold(self, name: str, decision: Decision | None = None) -> None:
        self._put_cluster(name, decision.roster if decision is not None else None)

    def _put_cluster(self, name: str, roster: Roster | None, known_at: float = 0.0) -> None:
        """Put the cluster unless it is there: it depends on two values only, and weights change all the time."""
        wanted = (roster.spec.load_limit_percent, roster.joins_streams) if roster is not None else (None, False)
        if self._clusters.get(name) != wanted:
            self._clusters[name] = wanted
            built = cluster(name, wanted[0], joins_streams=wanted[1])
            self._snapshot.put(CLUSTER, name, built, known_at)

    def _set_limits(self, name: str, limits: Limits) -> None:
        """Store limits, for `push_limits`. When a client may return is in the load assignment."""
        before = self._limits.get(name, UNLIMITED)
        if limits == before:
            return
        if limits == UNLIMITED:
            del self._limits[name]
        else:
            self._limits[name] = limits
        if (before.requests, before.retry_percent) != (limits.requests, limits.retry_percent):
            self._limits_changed = True

    def push_limits(self) -> None:
        """Push the limits of all endpoints if any has changed: they are one resource."""
        if self._limits_changed:
            self._limits_changed = False
            built = runtime(self._limits)
            self._snapshot.put(RUNTIME, built.name, built)

    def remove(self, name: str) -> None:
        self._clusters.pop(name, None)
        self._sites.pop(name, None)
        self._set_limits(name, UNLIMITED)
        self._snapshot.remove(CLUSTER, name)
        self._snapshot.remove(ENDPOINT, name)

    def open(self) -> None:
        self.push_limits()
        self._open_server()

    def is_served(self, name: str) -> bool:
        return self._snapshot.was_accepted(CLUSTER, name) and self._snapshot.was_accepted(ENDPOINT, name)

    def is_rejected(self, name: str) -> bool:
        return self._snapshot.is_rejected(CLUSTER, name) or self._snapshot.is_rejected(ENDPOINT, name)

    # --- the gateway itself

    def set_gateway(self, settings: GatewaySettings, admission: Cluster) -> None:
        """Add the resources that do not depend on endpoints."""
        gateway = listener(settings)
        clusters = [admission, *([collector_cluster(settings.traces)] if settings.traces else [])]
        self._gateway_resources = {(CLUSTER, found.name) for found in clusters}
        self._gateway_resources |= {(LISTENER, gateway.name), (RUNTIME, LAYER)}
        for found in clusters:
            self._snapshot.put(CLUSTER, found.name, found)
        self._snapshot.put(LISTENER, gateway.name, gateway)

    def handle_rejection(self, type_: str, name: str, message: str) -> bool:
        """Store that Envoy rejected a resource of the gateway itself. False if it belongs to an endpoint."""
        if (type_, name) not in self._gateway_resources:
            return False
        self._rejections[type_, name] = message
        return True

    def problem(self) -> str | None:
        """Return which resource of the gateway itself Envoy rejects, for /readyz; None if it accepts all."""
        for (type_, name), message in self._rejections.items():
            if self._snapshot.is_rejected(type_, name) or not self._snapshot.was_accepted(type_, name):
                return f"Envoy rejects {type_.rsplit('.', 1)[-1].lower()} {name}: {message}"
        return None

    def retry_rejected(self, now: float) -> None:
        """Push rejected resources of the gateway itself again, every RETRY_SECONDS. `now`: monotonic seconds."""
        if self.problem() is None:
            self._retry_at = now + RETRY_SECONDS
        elif now >= self._retry_at:
            self._retry_at = now + RETRY_SECONDS
            for type_, name in self._rejections:
                self._snapshot.retry(type_, name)


def _sites(roster: Roster) -> Sites:
    """Return where replicas are. One that drains is omitted if another one gets traffic at its address."""
    used = {(replica.host, replica.port) for pool in roster.pools for replica in pool.ready}

    def drains(replica: RoutedReplica) -> bool:
        is_draining = replica.state is ReplicaState.DRAINING
        return is_draining and usable_address(replica) and (replica.host, replica.port) not in used

    return Sites(
        [
            (pool.application, [(replica.host, replica.port, drains(replica)) for replica in pool.replicas])
            for pool in roster.pools
        ],
        affinity=roster.spec.load_limit_percent is not None,
    )
