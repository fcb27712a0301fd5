"""The two forms of aggregated discovery: how a request subscribes, and what a response holds.

State of the world: each request names all resources of a type. A response with clusters or listeners holds all of
them, and what is missing is removed; one of another type holds those that changed. Envoys of
older releases use it, also during an upgrade.

Incremental (delta): requests and responses hold what changed. An Envoy that connects again names the versions that it
has, and gets those that differ.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

from envoy.service.discovery.v3.discovery_pb2 import (
    DeltaDiscoveryRequest,
    DeltaDiscoveryResponse,
    DiscoveryRequest,
    DiscoveryResponse,
)
from envoy.service.discovery.v3.discovery_pb2 import Resource as VersionedResource
from google.protobuf.any_pb2 import Any as AnyMessage

from arks.endpoint_router.adapters.xds.snapshot import CLUSTER, ENDPOINT, LISTENER, Resource
from arks.endpoint_router.adapters.xds.subscription import WILDCARD, Subscription

Request = TypeVar("Request", DiscoveryRequest, DeltaDiscoveryRequest)
Response = TypeVar("Response", DiscoveryResponse, DeltaDiscoveryResponse)


@dataclass(frozen=True, slots=True)
class Changes:
    """What an Envoy lacks of one type."""

    new: Mapping[str, Resource]
    """Resources of which it has another version or none, by name."""
    removed: tuple[str, ...]
    """Names that do not exist any more, or never did."""
    omitted: tuple[str, ...]
    """Names of which it rejected all versions that there are."""


class Wire(Protocol[Request, Response]):
    method: str
    """Of the gRPC service."""
    request: type[Request]
    response: type[Response]

    def subscribe(
        self, type_: str, subscription: Subscription, request: Request, existing: Iterable[str], *, first: bool
    ) -> None:
        """Bring the subscription up to date. `existing`: names of all resources; `first`: of this type and stream."""

    def is_full(self, type_: str) -> bool:
        """Return whether a response of this type holds all resources, and so removes those that it does not hold."""

    def would_lose(self, type_: str, request: Request) -> bool:
        """Return whether the first request of a type shows that Envoy runs resources, which a response must name."""

    def is_due(self, type_: str, changes: Changes) -> bool:
        """Return whether changes without a new resource need a response."""

    def message(
        self, type_: str, nonce: str, resources: Mapping[str, Resource], removed: tuple[str, ...]
    ) -> Response: ...


class FullState:
    method = "StreamAggregatedResources"
    request = DiscoveryRequest
    response = DiscoveryResponse

    def subscribe(
        self, type_: str, subscription: Subscription, request: DiscoveryRequest, existing: Iterable[str], *, first: bool
    ) -> None:
        named = set(request.resource_names)
        if _is_all(type_, named, first=first or (subscription.all and not subscription.names)):
            if first:
                subscription.add_all(existing)
                subscription.owed = True
        elif subscription.all:
            subscription.drop_all()
        named.discard(WILDCARD)
        subscription.drop(subscription.names - named)
        subscription.add(named - subscription.names)

    def is_full(self, type_: str) -> bool:
        return type_ in {CLUSTER, LISTENER}

    def would_lose(self, type_: str, request: DiscoveryRequest) -> bool:
        return self.is_full(type_) and bool(request.version_info)

    def is_due(self, type_: str, changes: Changes) -> bool:
        return self.is_full(type_) and bool(changes.removed or changes.omitted)

    def message(
        self, type_: str, nonce: str, resources: Mapping[str, Resource], removed: tuple[str, ...]
    ) -> DiscoveryResponse:
        return DiscoveryResponse(
            version_info=str(max((resource.revision for resource in resources.values()), default=0)),
            type_url=type_,
            nonce=nonce,
            resources=[_any(type_, resource) for resource in resources.values()],
        )


class Incremental:
    method = "DeltaAggregatedResources"
    request = DeltaDiscoveryRequest
    response = DeltaDiscoveryResponse

    def subscribe(
        self,
        type_: str,
        subscription: Subscription,
        request: DeltaDiscoveryRequest,
        existing: Iterable[str],
        *,
        first: bool,
    ) -> None:
        added, dropped = set(request.resource_names_subscribe), set(request.resource_names_unsubscribe)
        if _is_all(type_, added, first=first):
            subscription.add_all(existing)
            subscription.owed = not request.initial_resource_versions
        elif WILDCARD in dropped:
            subscription.drop_all()
        subscription.drop(dropped - added)
        subscription.add(added - {WILDCARD})
        if first:
            subscription.claim(request.initial_resource_versions)

    def is_full(self, _: str) -> bool:
        return False

    def would_lose(self, _: str, request: DeltaDiscoveryRequest) -> bool:
        return False

    def is_due(self, _: str, changes: Changes) -> bool:
        return bool(changes.removed)

    def message(
        self, type_: str, nonce: str, resources: Mapping[str, Resource], removed: tuple[str, ...]
    ) -> DeltaDiscoveryResponse:
        return DeltaDiscoveryResponse(
            type_url=type_,
            nonce=nonce,
            resources=[
                VersionedResource(name=name, version=resource.version, resource=_any(type_, resource))
                for name, resource in resources.items()
            ],
            removed_resources=removed,
        )


def _any(type_: str, resource: Resource) -> AnyMessage:
    return AnyMessage(type_url=type_, value=resource.value)


def _is_all(type_: str, named: set[str], *, first: bool) -> bool:
    """Return whether a request subscribes to all resources: by name, or as the first of its type without names."""
    return WILDCARD in named or (first and not named and type_ != ENDPOINT)
