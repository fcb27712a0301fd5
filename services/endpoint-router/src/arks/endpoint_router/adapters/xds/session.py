"""The protocol of one discovery stream, without I/O (state of the world, aggregated).

Of each type one response is under way at most: until it is acknowledged, changes gather and the next response holds the
newest. So a slow Envoy costs no memory. Cluster and listener responses hold everything, as the protocol asks; endpoint
responses hold only what changed, which it allows.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from envoy.service.discovery.v3.discovery_pb2 import DiscoveryRequest, DiscoveryResponse

from arks.endpoint_router.adapters.xds.snapshot import CLUSTER, ENDPOINT, LISTENER, TYPES, Resource, World

SEND_ORDER = (CLUSTER, ENDPOINT, LISTENER)


@dataclass(frozen=True, slots=True)
class Sent:
    """A response that waits for its acknowledgement."""

    nonce: str
    at: float
    revisions: Mapping[str, int]
    """Of the resources in it that this stream did not have before."""
    oldest_change: float
    """When the oldest of these changes became known."""


@dataclass(frozen=True, slots=True)
class Acknowledged:
    type_url: str
    sent: Sent


@dataclass(frozen=True, slots=True)
class Refused:
    type_url: str
    sent: Sent
    names: tuple[str, ...]
    """The resources that are to blame: those that Envoy names, else all that were new to it."""
    message: str


Outcome = Acknowledged | Refused


@dataclass(slots=True)
class _Subscription:
    names: frozenset[str] | None = None
    """None: all."""
    dirty: bool = True
    """All types but endpoints: something changed since the last response."""
    changed: set[str] = field(default_factory=set)
    """Endpoints only: which of them."""
    have: dict[str, int] = field(default_factory=dict)
    """Revisions that were sent on this stream."""
    pending: Sent | None = None

    def wants(self, name: str) -> bool:
        return self.names is None or name in self.names


class Session:
    def __init__(self, world: World) -> None:
        self._world = world
        self._subscriptions: dict[str, _Subscription] = {}
        self._responses = 0
        self.node = ""

    @property
    def idle(self) -> bool:
        """Whether nothing waits to be sent or acknowledged."""
        return not any(one.dirty or one.changed or one.pending for one in self._subscriptions.values())

    def oldest_pending(self) -> float | None:
        """When the oldest response without an acknowledgement was sent."""
        return min((one.pending.at for one in self._subscriptions.values() if one.pending), default=None)

    # --- from the world

    def changed(self, type_: str, name: str) -> None:
        subscription = self._subscriptions.get(type_)
        if subscription is None or not subscription.wants(name):
            return
        if type_ == ENDPOINT:
            subscription.changed.add(name)
        else:
            subscription.dirty = True

    # --- from Envoy

    def receive(self, request: DiscoveryRequest) -> Outcome | None:
        """Take in one request. Returns what it says about an earlier response."""
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
            return None  # the first request of a type, or an answer to what was overtaken
        subscription.pending = None
        if not request.HasField("error_detail"):
            return Acknowledged(type_, pending)
        message = request.error_detail.message
        return Refused(type_, pending, _to_blame(pending, message), message)

    def _subscribe(self, type_: str, subscription: _Subscription, names: Iterable[str]) -> None:
        wanted = frozenset(names)
        if type_ != ENDPOINT:
            subscription.dirty |= (wanted or None) != subscription.names
            subscription.names = wanted or None
            return
        for name in wanted - (subscription.names or frozenset()):
            subscription.changed.add(name)
            subscription.have.pop(name, None)
        for name in (subscription.names or frozenset()) - wanted:
            subscription.have.pop(name, None)
        subscription.changed &= wanted
        subscription.names = wanted

    # --- to Envoy

    def responses(self, now: float) -> Iterator[DiscoveryResponse]:
        """What can be sent now, in the order in which it has to be sent."""
        for type_ in SEND_ORDER:
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
                resources = {n: r for n, r in self._world.resources(type_).items() if subscription.wants(n)}
                subscription.dirty = False
            yield self._respond(type_, subscription, resources, now)

    def _changed_endpoints(self, subscription: _Subscription) -> dict[str, Resource]:
        known = self._world.resources(ENDPOINT)
        changed = {name: known[name] for name in sorted(subscription.changed) if name in known}
        subscription.changed.clear()
        return {name: one for name, one in changed.items() if subscription.have.get(name) != one.revision}

    def _respond(
        self, type_: str, subscription: _Subscription, resources: Mapping[str, Resource], now: float
    ) -> DiscoveryResponse:
        new = {name: one for name, one in resources.items() if subscription.have.get(name) != one.revision}
        if type_ == CLUSTER:
            self._endpoints_again(name for name in new if name in subscription.have)
        revisions = {name: one.revision for name, one in resources.items()}
        subscription.have = subscription.have | revisions if type_ == ENDPOINT else revisions
        self._responses += 1
        subscription.pending = Sent(
            nonce=str(self._responses),
            at=now,
            revisions={name: one.revision for name, one in new.items()},
            oldest_change=min((one.changed_at for one in new.values()), default=now),
        )
        return DiscoveryResponse(
            version_info=str(max(revisions.values(), default=0)),
            type_url=type_,
            nonce=subscription.pending.nonce,
            resources=[one.packed for one in resources.values()],
        )

    def _endpoints_again(self, clusters: Iterable[str]) -> None:
        """A cluster that changes is built anew in Envoy and waits for its endpoints, though they did not change."""
        subscription = self._subscriptions.get(ENDPOINT)
        if subscription is None:
            return
        for name in clusters:
            if subscription.wants(name):
                subscription.have.pop(name, None)
                subscription.changed.add(name)


def _to_blame(sent: Sent, message: str) -> tuple[str, ...]:
    named = tuple(name for name in sent.revisions if _names(message, name))
    return named or tuple(sent.revisions)


def _names(message: str, name: str) -> bool:
    """Whether the message holds the whole name, not one that it is a part of."""
    return re.search(rf"(?<![\w./-]){re.escape(name)}(?![\w/-]|\.\w)", message) is not None
