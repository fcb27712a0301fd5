"""Keeps Envoy, facts and status equal to what the endpoints ask for and what their replicas can do.

Deciding and telling Envoy happens at once, in the callback that brings the news; writing facts and status follows
through a controller, at its own pace.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import structlog
from pydantic import BaseModel

from arks.contracts.resources.endpoint import ArksEndpoint
from arks.contracts.subjects import EventKind
from arks.endpoint_router.domain import Decision, Facts, Reason, decide
from arks.endpoint_router.domain.http_route import Attachment
from arks.endpoint_router.domain.translate import endpoint_spec, unmet_wishes
from arks.endpoint_router.service import status as told
from arks.endpoint_router.service.endpoint_record import Routed
from arks.endpoint_router.service.neighbours import Neighbours
from arks.events.v1.events_pb2 import ResourceEvent
from arks.events.v1.facts_pb2 import EndpointFact, ReplicasFact
from arks.events.v1.load_pb2 import LoadReport
from arks.kit.cache import Cache
from arks.kit.clock import Clock
from arks.kit.reconcile import Key, Requeue

log = structlog.get_logger(__name__)

FINALIZER = "endpoint.arks.ai/controller"
"""Set by the existing controller of this kind; nothing of ours needs it, but nobody else would take it off."""
WEIGHT_FACT_SECONDS = 1.0
"""Facts follow changes of weights at most this often; changes of readiness at once."""
WEIGHT_STATUS_SECONDS = 5.0
"""The same for the status, whose every change is a write to the resource store."""


class Gateway(Protocol):
    """Envoy, however many of them there are."""

    def route(self, name: str, decision: Decision, known_at: float) -> None:
        """Let requests for the endpoint go where the decision says. `known_at`: monotonic time of the news."""

    def hold(self, name: str) -> None:
        """The endpoint exists, but nothing is known of its replicas: an Envoy that has some keeps them."""

    def remove(self, name: str) -> None: ...

    def open(self) -> None:
        """Everything that exists has been routed once."""

    def serves(self, name: str) -> bool:
        """Whether an Envoy ever took a configuration of this endpoint."""

    def refuses(self, name: str) -> bool:
        """Whether the newest configuration of this endpoint was refused."""


class Endpoints(Protocol):
    """The resources that this service owns."""

    cache: Cache[ArksEndpoint]

    async def patch_status(self, key: Key, status: BaseModel) -> None: ...
    async def remove_finalizer(self, key: Key, finalizer: str) -> None: ...


class EndpointFacts(Protocol):
    def get(self, key: Key) -> EndpointFact | None: ...
    def put(self, key: Key, fact: EndpointFact) -> None: ...
    def remove(self, key: Key) -> None: ...
    def complete(self) -> None: ...


class Attachments(Protocol):
    """Endpoints at Gateways that are not ours."""

    async def keep(self, endpoint: ArksEndpoint) -> Attachment | None:
        """None: nothing is asked for, or nothing can be done here."""

    def forget(self, key: Key) -> None: ...


Publish = Callable[[EventKind, str, Key, ResourceEvent], None]
Enqueue = Callable[[Key, float], None]


class EndpointRouter:
    def __init__(
        self,
        *,
        endpoints: Endpoints,
        replicas: Cache[ReplicasFact],
        facts: EndpointFacts,
        gateway: Gateway,
        publish: Publish,
        clock: Clock,
        hold_seconds: float,
        attachments: Attachments | None = None,
    ) -> None:
        self._endpoints = endpoints
        self._replicas = replicas
        self._facts = facts
        self._gateway = gateway
        self._publish = publish
        self._clock = clock
        self._hold_seconds = hold_seconds
        self._attachments = attachments
        self._routed: dict[Key, Routed] = {}
        self._neighbours = Neighbours(hold_seconds)
        self._enqueue: Enqueue = lambda key, after_seconds: None
        self._begun_at: float | None = None
        self._untold: set[Key] = set()
        """Endpoints whose fact has not been said since the start; until it is empty no old fact may go."""

    def tell_with(self, enqueue: Enqueue) -> None:
        """`enqueue` brings a key to `reconcile`, after some seconds."""
        self._enqueue = enqueue

    # --- news

    def begin(self) -> None:
        """All caches are synced: decide about everything, and only then let Envoy have it."""
        self._begun_at = self._clock.monotonic()
        self._replicas.subscribe(self._replicas_changed)
        self._untold = {key for key, _ in self._endpoints.cache.items()}
        self._endpoints.cache.subscribe(self._endpoint_changed)
        self._gateway.open()
        if not self._untold:
            self._facts.complete()
        log.info("routing", endpoints=len(self._routed), applications=len(self._replicas))

    def take_load(self, report: LoadReport) -> None:
        """One load report; what it says about replicas that we do not know is dropped."""
        application = Key(report.namespace, report.application)
        if self._neighbours.take_load(application, report):
            self._decide_all(self._users(application))

    def tick(self) -> None:
        """Time passed: readings get stale, steps go on, what was held is given up."""
        now = self._clock.monotonic()
        for application in self._neighbours.give_up(now):
            log.warning("replicas vanished and did not come back", application=str(application))
            self._application_gone(application)
        for key, routed in list(self._routed.items()):
            waited = routed.waits_until is not None and now >= routed.waits_until
            if waited or routed.wants_another_look(now):
                self._decide(key)

    def refused(self, name: str, message: str) -> None:
        """Envoy refused an endpoint's configuration."""
        key = Key(*name.split("/", 1)) if "/" in name else None
        routed = self._routed.get(key) if key is not None else None
        if key is None or routed is None:
            return
        routed.refusal = message
        self._enqueue(key, 0.0)

    def _endpoint_changed(self, key: Key) -> None:
        resource = self._endpoints.cache.get(key)
        if resource is None or resource.metadata.deletion_timestamp is not None:
            self._forget(key)
            self._enqueue(key, 0.0)
            return
        spec, routed = endpoint_spec(resource), self._routed.get(key)
        if routed is None:
            routed = self._routed[key] = Routed(resource, spec)
        elif (routed.resource.spec, routed.generation) == (resource.spec, resource.metadata.generation):
            routed.resource = resource  # its status changed, which we wrote ourselves
            return
        self._neighbours.names(key, spec)
        routed.resource, routed.spec, routed.waits_until = resource, spec, None
        self._decide(key)
        self._enqueue(key, 0.0)

    def _forget(self, key: Key) -> None:
        if self._routed.pop(key, None) is not None:
            self._neighbours.names(key, None)
            self._gateway.remove(str(key))

    def _replicas_changed(self, key: Key) -> None:
        before = self._users(key)
        if self._neighbours.take_replicas(key, self._replicas.get(key), self._clock.monotonic()):
            self._decide_all(before | self._users(key))

    def _application_gone(self, key: Key) -> None:
        users = self._users(key)
        self._neighbours.forget(key)
        self._decide_all(users)

    def _users(self, application: Key) -> set[Key]:
        return {key for key in self._neighbours.users(application) if key in self._routed}

    # --- decisions

    def _decide_all(self, keys: Iterable[Key]) -> None:
        for key in sorted(keys):
            self._decide(key)

    def _decide(self, key: Key) -> None:
        routed, monotonic = self._routed[key], self._clock.monotonic()
        decision = decide(
            routed.spec,
            Facts(
                applications=self._neighbours.applications(key.namespace),
                signals=self._neighbours.signals(key.namespace),
                before=routed.scores,
                now=self._clock.now().timestamp(),
            ),
        )
        if self._replicas_unknown(routed, decision, monotonic):
            self._gateway.hold(str(key))
            return
        before, changed = routed.decision, routed.take(decision, monotonic)
        if not changed:
            return
        self._gateway.route(str(key), decision, monotonic)
        urgent = before is None or before.routed.keys() != decision.routed.keys() or before.reason != decision.reason
        self._enqueue(key, 0.0 if urgent else WEIGHT_FACT_SECONDS)

    def _replicas_unknown(self, routed: Routed, decision: Decision, now: float) -> bool:
        """Just started, and nobody has said anything of an endpoint that was served before: Envoy knows better."""
        if decision.reason is not Reason.NO_APPLICATION or routed.decision is not None or not routed.was_ready:
            routed.waits_until = None
            return False
        if routed.waits_until is None:
            routed.waits_until = (self._begun_at or now) + self._hold_seconds
        return now < routed.waits_until

    # --- what we tell

    async def reconcile(self, key: Key) -> Requeue | None:
        """Write fact and status of one endpoint. Raises Unavailable when NATS is away."""
        resource, routed = self._endpoints.cache.get(key), self._routed.get(key)
        if resource is None or resource.metadata.deletion_timestamp is not None or routed is None:
            self._facts.remove(key)
            self._said(key)
            if self._attachments is not None:
                self._attachments.forget(key)
            if resource is not None and FINALIZER in resource.metadata.finalizers:
                await self._endpoints.remove_finalizer(key, FINALIZER)
            return None
        if routed.decision is None:
            return None
        now = self._clock.now()
        if not self._gateway.refuses(str(key)):
            routed.refusal = None
        self._facts.put(key, told.fact(resource, routed.decision, self._facts.get(key), now))
        self._said(key)
        for verb, event in routed.events(key):
            self._publish(EventKind.ENDPOINT, verb, key, event)
        attachment = await self._attachments.keep(resource) if self._attachments is not None else None
        wanted = told.status(
            resource,
            routed.decision,
            notes=unmet_wishes(resource, attached_elsewhere=attachment is not None),
            attachment=attachment,
            refusal=routed.refusal,
            served=self._gateway.serves(str(key)),
            now=now,
        )
        routed.take_up_status(self._clock.monotonic())
        early = routed.status_told_at + WEIGHT_STATUS_SECONDS - self._clock.monotonic()
        if early > 0 and routed.told_all_but_weights(wanted):
            return Requeue(early)
        await self._endpoints.patch_status(key, wanted)
        routed.status_told, routed.status_told_at = wanted, self._clock.monotonic()
        return Requeue(attachment.look_again_seconds) if attachment is not None else None

    def _said(self, key: Key) -> None:
        if key in self._untold:
            self._untold.discard(key)
            if not self._untold:
                self._facts.complete()

    # --- questions

    def explain(self, key: Key) -> dict[str, object] | None:
        """The decision as it would be now, and the last ones that changed something, newest first."""
        routed = self._routed.get(key)
        if routed is None:
            return None
        now = self._clock.now().timestamp()
        newest = routed.newest
        return {
            "namespace": key.namespace,
            "name": key.name,
            "newest": None if newest is None else told.explanation(newest, now),
            "changes": [told.explanation(decision, now) for decision in reversed(routed.history)],
        }

    def decisions(self) -> Iterator[tuple[Key, Decision]]:
        """The newest decision of each endpoint."""
        for key, routed in sorted(self._routed.items(), key=lambda item: item[0]):
            if routed.newest is not None:
                yield key, routed.newest

    def endpoints(self) -> list[Key]:
        return sorted(self._routed)
