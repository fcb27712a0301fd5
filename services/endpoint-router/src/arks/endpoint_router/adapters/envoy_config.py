"""Envoy as the service sees it: decisions become clusters and load assignments in the world that Envoys are told."""

from collections.abc import Callable

from arks.endpoint_router.adapters.envoy import (
    Backend,
    GatewaySettings,
    cluster,
    listener,
    load_assignment,
    token_quota_cluster,
)
from arks.endpoint_router.adapters.xds import CLUSTER, ENDPOINT, LISTENER, World
from arks.endpoint_router.domain import Decision, usable_address

RETRY_SECONDS = 5.0
"""A refused listener is offered again: the port that somebody else had may be free by now."""


class EnvoyGateway:
    def __init__(self, world: World, open_server: Callable[[], None]) -> None:
        self._world = world
        self._open_server = open_server
        self._own: set[tuple[str, str]] = set()
        self._refusals: dict[tuple[str, str], str] = {}
        self._retry_at = 0.0

    def serve(self, settings: GatewaySettings, token_quota_host: str, token_quota_port: int) -> None:
        """The parts that do not depend on endpoints: the listener and the cluster of admission."""
        admission, gateway = token_quota_cluster(token_quota_host, token_quota_port), listener(settings)
        self._own = {(CLUSTER, admission.name), (LISTENER, gateway.name)}
        self._world.put(CLUSTER, admission.name, admission)
        self._world.put(LISTENER, gateway.name, gateway)

    def route(self, name: str, decision: Decision, known_at: float) -> None:
        self._world.put(ENDPOINT, name, load_assignment(name, backends(decision)), known_at)
        self._world.put(CLUSTER, name, cluster(name), known_at)

    def hold(self, name: str) -> None:
        self._world.put(CLUSTER, name, cluster(name))

    def remove(self, name: str) -> None:
        self._world.remove(CLUSTER, name)
        self._world.remove(ENDPOINT, name)

    def open(self) -> None:
        self._open_server()

    def serves(self, name: str) -> bool:
        return self._world.has_good(CLUSTER, name) and self._world.has_good(ENDPOINT, name)

    def refuses(self, name: str) -> bool:
        return self._world.is_refused(CLUSTER, name) or self._world.is_refused(ENDPOINT, name)

    # --- the parts of the gateway itself

    def refused(self, type_: str, name: str, message: str) -> bool:
        """Note that Envoy refused one of the gateway's own parts; False when it is not one of them."""
        if (type_, name) not in self._own:
            return False
        self._refusals[type_, name] = message
        return True

    def problem(self) -> str | None:
        """What of the gateway itself Envoy does not take."""
        for (type_, name), message in self._refusals.items():
            if self._world.is_refused(type_, name) or not self._world.has_good(type_, name):
                return f"Envoy refuses {type_.rsplit('.', 1)[-1].lower()} {name}: {message}"
        return None

    def tick(self, now: float) -> None:
        """Offer refused parts of the gateway again, now and then."""
        if self.problem() is None:
            self._retry_at = now + RETRY_SECONDS
        elif now >= self._retry_at:
            self._retry_at = now + RETRY_SECONDS
            for type_, name in self._refusals:
                self._world.retry(type_, name)


def backends(decision: Decision) -> list[Backend]:
    """Replicas that get traffic, and those that finish what they have: Envoy would cut the streams of one left out."""
    routed = [one for one in decision.candidates if one.weight]
    taken = {(one.replica.host, one.replica.port) for one in routed}
    draining = [
        one
        for one in decision.candidates
        if one.draining and usable_address(one.replica) and (one.replica.host, one.replica.port) not in taken
    ]
    return [
        Backend(
            host=one.replica.host,
            port=one.replica.port,
            weight=max(1, one.weight),
            draining=one.draining,
            group=one.replica.id.application,
        )
        for one in (*routed, *draining)
    ]
