"""Protocols of what the router needs from adapters."""

from collections.abc import Callable
from typing import Protocol

from arks.contracts.resources import ArksEndpoint
from arks.endpoint_router.domain import Decision
from arks.endpoint_router.domain.http_route import Attachment
from arks.events.v1.facts_pb2 import EndpointFact
from arks.kit.cache import Cache
from arks.kit.key import Key
from arks.kit.status import StatusStore
from arks.kit.types import AsyncCallable


class EnvoyConfig(Protocol):
    """Configuration of all connected Envoys. `name`: of an endpoint, `<namespace>/<name>`."""

    def route(self, name: str, decision: Decision, known_at: float) -> None:
        """Divide requests by the weights. `known_at`: when the cause arrived, in monotonic seconds."""

    def hold(self, name: str, decision: Decision | None = None) -> None:
        """Keep the replicas that Envoys have for an endpoint whose replicas are unknown here.

        `decision`: on all but the replicas, if there is one.
        """

    def remove(self, name: str) -> None: ...

    def open(self) -> None:
        """Begin to push: every existing endpoint is in the configuration now."""

    def is_served(self, name: str) -> bool:
        """Return whether an Envoy ever accepted a configuration of this endpoint."""

    def is_rejected(self, name: str) -> bool:
        """Return whether the newest configuration of this endpoint was rejected."""


class Endpoints(StatusStore, Protocol):
    """The resources that this service owns."""

    cache: Cache[ArksEndpoint]

    async def remove_finalizer(self, key: Key, finalizer: str) -> None: ...


class EndpointFacts(Protocol):
    def put(self, key: Key, fact: EndpointFact) -> None: ...
    def remove(self, key: Key) -> None: ...
    def keep(self, key: Key) -> None:
        """The fact stays as it was written, perhaps before a restart."""


class Attachments(Protocol):
    """HTTPRoutes of endpoints at Gateways that are not part of Arks."""

    async def reconcile(self, endpoint: ArksEndpoint) -> Attachment | None:
        """Make the route match the spec. None if the endpoint has no `gatewayRef`, or may not have a route."""

    def forget(self, key: Key) -> None: ...

    def subscribe(self, changed: Callable[[str], None]) -> None:
        """`changed` is called with a namespace whose endpoints begin or cease to have routes. It must not block."""

    @property
    def tasks(self) -> list[AsyncCallable]:
        """What has to run besides."""
