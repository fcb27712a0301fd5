"""The protocol of one discovery stream, without I/O: nonces, acknowledgements, rejections, and what Envoy lacks.

At most one response of each type is in flight: until it is acknowledged, changes gather, and the next response holds
the newest. So a slow Envoy costs no memory. `wire.py` has the two forms of requests and responses.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic

from arks.endpoint_router.adapters.xds.snapshot import CLUSTER, ENDPOINT, LISTENER, TYPES, ConfigSnapshot, Resource
from arks.endpoint_router.adapters.xds.subscription import Sent, Subscription
from arks.endpoint_router.adapters.xds.wire import Changes, Request, Response, Wire


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


class Session(Generic[Request, Response]):
    def __init__(self, snapshot: ConfigSnapshot, wire: Wire[Request, Response]) -> None:
        self._snapshot = snapshot
        self._wire = wire
        self._subscriptions: dict[str, Subscription] = {}
        self._responses = 0
        self._rejected: dict[tuple[str, str], set[int]] = {}
        """Type and name -> the desired revision, which this Envoy rejected, and what it rejected instead of it."""
        self._kept: set[str] = set()
        """Types of which this Envoy may run resources of an earlier stream that full responses must not omit."""
        self.node = ""

    @property
    def idle(self) -> bool:
        """Whether nothing waits to be sent or acknowledged."""
        return all(subscription.idle for subscription in self._subscriptions.values())

    def oldest_pending(self) -> float | None:
        """Return when the oldest unacknowledged response was sent, in monotonic seconds; None if there is none."""
        pending = (subscription.pending for subscription in self._subscriptions.values())
        return min((sent.at for sent in pending if sent is not None), default=None)

    # --- from the snapshot

    def changed(self, type_: str, name: str) -> None:
        subscription = self._subscriptions.get(type_)
        if subscription is not None:
            subscription.mark(name)

    # --- from Envoy

    def receive(self, request: Request) -> Outcome | None:
        """Handle one request, and store in the snapshot what Envoy accepts and rejects.

        Returns the outcome of the response that it answers; None if it answers none.
        """
        self.node = request.node.id or self.node
        type_ = request.type_url
        if type_ not in TYPES:
            return None
        subscription = self._subscribe(type_, request)
        pending = subscription.pending
        if pending is None or request.response_nonce != pending.nonce:
            return None  # the first request of a type, or an answer to a superseded response
        subscription.pending = None
        if not request.HasField("error_detail"):
            for name, revision in pending.revisions.items():
                self._snapshot.accept(type_, name, revision)
            return Acknowledged(type_, pending)
        message = request.error_detail.message
        rejected = Rejected(type_, pending, _rejected_names(pending, message), message)
        self._replace(subscription, rejected)
        return rejected

    def _subscribe(self, type_: str, request: Request) -> Subscription:
        subscription = self._subscriptions.get(type_)
        first = subscription is None
        if subscription is None:
            subscription = self._subscriptions[type_] = Subscription()
            if self._wire.would_lose(type_, request):
                self._kept.add(type_)
        self._wire.subscribe(type_, subscription, request, self._snapshot.resources(type_), first=first)
        clusters = self._subscriptions.get(CLUSTER)
        if first and type_ == ENDPOINT and clusters is not None:  # Envoy sent it before it had those clusters
            self._resend_endpoints(name for name in subscription.names if clusters.was_sent(name))
        return subscription

    def _replace(self, subscription: Subscription, rejected: Rejected) -> None:
        """Send other revisions than the rejected ones, and the rest again: Envoy may have stopped at the first."""
        response = rejected.sent
        for name in rejected.names:
            revision = response.revisions[name]
            self._snapshot.reject(rejected.type_url, name, revision, self)
            self._rejected.setdefault((rejected.type_url, name), set()).add(revision)
            subscription.mark(name)
        if rejected.names:
            for name in (response.revisions.keys() | set(response.removed)).difference(rejected.names):
                subscription.resend(name)

    # --- to Envoy

    def responses(self, now: float) -> Iterator[Response]:
        """Yield the responses that can be sent now, in the order that Envoy requires."""
        for type_ in (*TYPES, CLUSTER):  # clusters again: those that no listener needs any more are removed last
            subscription = self._subscriptions.get(type_)
            if subscription is None or subscription.pending is not None or subscription.idle:
                continue
            changes, full = self._changes(type_, subscription), self._wire.is_full(type_)
            if changes.new or subscription.owed or self._wire.is_due(type_, changes):
                resources = self._everything(type_, subscription) if full else changes.new
                subscription.owed = False
                yield self._respond(type_, subscription, changes, resources, now)

    def _changes(self, type_: str, subscription: Subscription) -> Changes:
        """Return what Envoy lacks of a type, and store that nothing else has changed."""
        existing = self._snapshot.resources(type_)
        names = sorted(subscription.changed)
        subscription.changed.clear()
        new: dict[str, Resource] = {}
        removed, omitted = [], []
        for name in names:
            resource = self._wanted(type_, name)
            if resource is None and name in existing:
                omitted.append(name)
            elif resource is None:
                removed.append(name)
            elif not subscription.has(name, resource):
                new[name] = resource
            elif not subscription.was_sent(name):
                self._snapshot.accept(type_, name, resource.revision)  # Envoy runs it since an earlier stream
        return Changes(new, self._removed(type_, subscription, removed), tuple(omitted))

    def _wanted(self, type_: str, name: str) -> Resource | None:
        """Return the version of a resource for this Envoy; None if there is none, or none that it takes.

        What a full response omits is removed. An Envoy that connects again with an older filter rejects changed
        clusters and keeps its own, so they are named to it although it rejects them each time.
        """
        resource = self._snapshot.resources(type_).get(name)
        rejected = self._rejected.get((type_, name))
        if rejected is None:
            return resource
        if resource is None or resource.revision not in rejected:
            del self._rejected[type_, name]  # it has been changed or removed
            return resource
        instead = self._snapshot.instead_of(type_, resource, name)
        if type_ == LISTENER:
            return instead
        if instead is not None and instead.revision not in rejected:
            return instead
        return resource if type_ in self._kept else None

    def _removed(self, type_: str, subscription: Subscription, names: Iterable[str]) -> tuple[str, ...]:
        """Return which resources without a version Envoy has to drop now.

        Endpoints of a cluster that is held are not known yet, which is not the same as none: Envoy would end the
        warming of a changed cluster without them.
        """
        removed = tuple(name for name in names if subscription.has_any(name))
        if type_ == ENDPOINT:
            return tuple(name for name in removed if name not in self._snapshot.resources(CLUSTER))
        listeners = self._subscriptions.get(LISTENER)
        if type_ == CLUSTER and listeners is not None and not listeners.idle:
            subscription.changed.update(removed)
            return ()
        return removed

    def _everything(self, type_: str, subscription: Subscription) -> dict[str, Resource]:
        names = (name for name in self._snapshot.resources(type_) if subscription.includes(name))
        wanted = ((name, self._wanted(type_, name)) for name in names)
        return {name: resource for name, resource in wanted if resource is not None}

    def _respond(
        self,
        type_: str,
        subscription: Subscription,
        changes: Changes,
        resources: Mapping[str, Resource],
        now: float,
    ) -> Response:
        if type_ == CLUSTER:
            self._resend_endpoints(name for name in changes.new if subscription.has_any(name))
        for name, resource in changes.new.items():
            subscription.store(name, resource)
        for name in changes.removed:
            subscription.forget(name)
        self._responses += 1
        subscription.pending = Sent(
            nonce=str(self._responses),
            at=now,
            revisions={name: resource.revision for name, resource in changes.new.items()},
            names=frozenset(resources),
            removed=changes.removed,
            oldest_change=min((resource.changed_at for resource in changes.new.values()), default=now),
        )
        return self._wire.message(type_, subscription.pending.nonce, resources, changes.removed)

    def _resend_endpoints(self, clusters: Iterable[str]) -> None:
        """Send the endpoints of changed clusters again: Envoy rebuilds the cluster and waits for them."""
        subscription = self._subscriptions.get(ENDPOINT)
        if subscription is not None:
            for name in clusters:
                subscription.resend(name)


def _rejected_names(sent: Sent, message: str) -> tuple[str, ...]:
    named = [name for name in sent.names if _mentions(message, name)]
    return tuple(name for name in sent.revisions if name in named or not named)


def _mentions(message: str, name: str) -> bool:
    """Return whether the message contains the whole name, not a longer one that contains it."""
    return re.search(rf"(?<![\w./-]){re.escape(name)}(?![\w/-]|\.\w)", message) is not None
