"""The protocol of one discovery stream, without I/O (state of the world, aggregated).

At most one response of each type is in flight: until it is acknowledged, changes gather, and the next response holds
the newest. So a slow Envoy costs no memory. Cluster and listener responses hold all resources, as the protocol
requires; endpoint responses hold only those that changed, which it allows.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from envoy.service.discovery.v3.discovery_pb2 import DiscoveryRequest, DiscoveryResponse

from arks.endpoint_router.adapters.xds.snapshot import CLUSTER, ENDPOINT, TYPES, ConfigSnapshot, Resource


@dataclass(frozen=True, slots=True)
class Sent:
    """A response that waits for its acknowledgement."""

    nonce: str
    at: float
    revisions: Mapping[str, int]
    """Revisions of the resources in it that this stream did not have before, by name."""
    oldest_change: float
    """When the reason for the oldest of these changes arrived, in monotonic seconds."""


@dataclass(frozen=True, slots=True)
class Acknowledged:
    type_url: str
    sent: Sent


@dataclass(frozen=True, slots=True)
class Rejected:
    type_url: str
    sent: Sent
    names: tuple[str, ...]
    """The rejected resources: those that Envoy names, else all that were new to it."""
    message: str


Outcome = Acknowledged | Rejected


@dataclass(slots=True)
class _Subscription:
    names: frozenset[str] | None = None
    """Resources that Envoy subscribed to; None: all."""
    dirty: bool = True
    """All types but endpoints: something changed since the last response."""
    changed: set[str] = field(default_factory=set)
    """Endpoints only: names of those that changed since the last response."""
    sent: dict[str, int] = field(default_factory=dict)
    """Revisions that were sent on this stream, by name."""
    pending: Sent | None = None

    def includes(self, name: str) -> bool:
        return self.names is None or name in self.names

    def unsent(self, resources: Mapping[str, Resource]) -> dict[str, Resource]:
        """Return the resources whose revision was not sent on this stream."""
        return {name: resource for name, resource in resources.items() if self.sent.get(name) != resource.revision}


class Session:
    def __init__(self, snapshot: ConfigSnapshot) -> None:
        self._snapshot = snapshot
        self._subscriptions: dict[str, _Subscription] = {}
        self._responses = 0
        self._rejected: dict[tuple[str, str], int] = {}
        """Type and name -> the revision that this Envoy rejected."""
        self.node = ""

    @property
    def idle(self) -> bool:
        """Whether nothing waits to be sent or acknowledged."""
        return not any(
            subscription.dirty or subscription.changed or subscription.pending
            for subscription in self._subscriptions.values()
        )

    def oldest_pending(self) -> float | None:
        """Return when the oldest unacknowledged response was sent, in monotonic seconds; None if there is none."""
        pending = (subscription.pending for subscription in self._subscriptions.values())
        return min((sent.at for sent in pending if sent is not None), default=None)

    # --- from the snapshot

    def changed(self, type_: str, name: str) -> None:
        subscription = self._subscriptions.get(type_)
        if subscription is None or not subscription.includes(name):
            return
        if type_ == ENDPOINT:
            subscription.changed.add(name)
        else:
            subscription.dirty = True

    # --- from Envoy

    def receive(self, request: DiscoveryRequest) -> Outcome | None:
        """Handle one request. Returns the outcome of the response that it answers; None if it answers none."""
        self.node = request.node.id or self.node
        type_ = request.type_url
        if type_ not in TYPES:
            return None
        subscription = self._subscriptions.get(type_)
        if subscription is None:
            subscription = self._subscriptions[type_] = _Subscription(dirty=type_ != ENDPOINT)
        self._subscribe(type_, subscription, request.resource_names)
        pending = subscription.pending
        if pending is None or request.response_nonce != pending.nonce:
            return None  # the first request of a type, or an answer to a superseded response
        subscription.pending = None
        if not request.HasField("error_detail"):
            return Acknowledged(type_, pending)
        message = request.error_detail.message
        rejected = Rejected(type_, pending, _rejected_names(pending, message), message)
        for name in rejected.names:
            self._replace(type_, name, pending.revisions[name])
        return rejected

    def _replace(self, type_: str, name: str, revision: int) -> None:
        """Send another revision than the one that this Envoy rejected."""
        if self._rejected.get((type_, name)) != revision:
            self._rejected[type_, name] = revision
            self.changed(type_, name)

    def _resources(self, type_: str) -> dict[str, Resource]:
        """Return the resources for this Envoy: the snapshot's, without those that it rejected."""
        resources = dict(self._snapshot.resources(type_))
        for (rejected_type, name), revision in list(self._rejected.items()):
            if rejected_type != type_:
                continue
            resource = resources.get(name)
            if resource is None or resource.revision != revision:
                del self._rejected[rejected_type, name]  # it has been changed or removed
                continue
            instead = self._snapshot.instead_of(type_, resource, name)
            if instead is None:
                del resources[name]
            else:
                resources[name] = instead
        return resources

    def _subscribe(self, type_: str, subscription: _Subscription, names: Iterable[str]) -> None:
        requested = frozenset(names)
        if type_ != ENDPOINT:
            subscription.dirty |= (requested or None) != subscription.names
            subscription.names = requested or None
            return
        for name in requested - (subscription.names or frozenset()):
            subscription.changed.add(name)
            subscription.sent.pop(name, None)
        for name in (subscription.names or frozenset()) - requested:
            subscription.sent.pop(name, None)
        subscription.changed &= requested
        subscription.names = requested

    # --- to Envoy

    def responses(self, now: float) -> Iterator[DiscoveryResponse]:
        """Yield the responses that can be sent now, in the order that Envoy requires."""
        for type_ in TYPES:
            subscription = self._subscriptions.get(type_)
            if subscription is None or subscription.pending is not None:
                continue
            if type_ == ENDPOINT:
                resources = self._changed_endpoints(subscription)
                if not resources:
                    continue
            else:
                if not subscription.dirty:
                    continue
                resources = {n: r for n, r in self._resources(type_).items() if subscription.includes(n)}
                subscription.dirty = False
            yield self._respond(type_, subscription, resources, now)

    def _changed_endpoints(self, subscription: _Subscription) -> dict[str, Resource]:
        known = self._resources(ENDPOINT) if self._rejected else self._snapshot.resources(ENDPOINT)
        changed = {name: known[name] for name in sorted(subscription.changed) if name in known}
        subscription.changed.clear()
        return {
            name: resource for name, resource in changed.items() if subscription.sent.get(name) != resource.revision
        }

    def _respond(
        self, type_: str, subscription: _Subscription, resources: Mapping[str, Resource], now: float
    ) -> DiscoveryResponse:
        new = {
            name: resource for name, resource in resources.items() if subscription.sent.get(name) != resource.revision
        }
        if type_ == CLUSTER:
            self._resend_endpoints(name for name in new if name in subscription.sent)
        revisions = {name: resource.revision for name, resource in resources.items()}
        subscription.sent = subscription.sent | revisions if type_ == ENDPOINT else revisions
        self._responses += 1
        subscription.pending = Sent(
            nonce=str(self._responses),
            at=now,
            revisions={name: resource.revision for name, resource in new.items()},
            oldest_change=min((resource.changed_at for resource in new.values()), default=now),
        )
        return DiscoveryResponse(
            version_info=str(max(revisions.values(), default=0)),
            type_url=type_,
            nonce=subscription.pending.nonce,
            resources=[resource.packed for resource in resources.values()],
        )

    def _resend_endpoints(self, clusters: Iterable[str]) -> None:
        """Send the endpoints of changed clusters again: Envoy rebuilds the cluster and waits for them."""
        subscription = self._subscriptions.get(ENDPOINT)
        if subscription is None:
            return
        for name in clusters:
            if subscription.includes(name):
                subscription.sent.pop(name, None)
                subscription.changed.add(name)


def _rejected_names(sent: Sent, message: str) -> tuple[str, ...]:
    named = tuple(name for name in sent.revisions if _mentions(message, name))
    return named or tuple(sent.revisions)


def _mentions(message: str, name: str) -> bool:
    """Return whether the message contains the whole name, not a longer one that contains it."""
    return re.search(rf"(?<![\w./-]){re.escape(name)}(?![\w/-]|\.\w)", message) is not None
