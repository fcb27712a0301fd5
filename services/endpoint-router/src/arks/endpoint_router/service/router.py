"""Keep Envoy, facts and statuses equal to what endpoints specify and what their replicas can do.

A decision and its push to Envoy happen at once, in the callback of the change; facts and statuses are written by a
controller, at its own rate.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import Any

import structlog

from arks.contracts.resources import ArksEndpoint, ArksEndpointStatus
from arks.endpoint_router.domain import Decision, DecisionInput, EndpointSpec, Reason, Report
from arks.endpoint_router.domain.rollout import Phase
from arks.endpoint_router.domain.translate import endpoint_spec, unsupported_settings
from arks.endpoint_router.service import status
from arks.endpoint_router.service.endpoint_record import EndpointRecord
from arks.endpoint_router.service.events import rollout_change
from arks.endpoint_router.service.neighbours import Neighbours
from arks.endpoint_router.service.ports import Attachments, EndpointFacts, Endpoints, EnvoyConfig
from arks.endpoint_router.service.rollouts import Ended, Rollouts
from arks.endpoint_router.service.status import Held
from arks.events.v1.facts_pb2 import ReplicasFact
from arks.events.v1.load_pb2 import DemandReport
from arks.kit.cache import Cache
from arks.kit.clock import Clock
from arks.kit.key import Key
from arks.kit.reconcile import Blocked, Requeue
from arks.kit.resource_events import ResourceEvents
from arks.kit.status import StatusWriter

log = structlog.get_logger(__name__)

FINALIZER = "endpoint.arks.ai/controller"
"""Set by the older controller of this kind. Arks does not need it, but no other program would remove it."""
WEIGHT_SECONDS = 5.0
"""Least interval between facts, and between statuses, that differ in weights only: no service depends on these. A
change of readiness is written at once."""
WEIGHTS_PER_SECOND = 50.0
"""Of all endpoints, if their weights change all the time."""
FIRST_WEIGHT_SECONDS = 1.0
"""The same after a while without changes."""

ROLLOUT_SECONDS = 2.0
"""Interval at which a rollout is judged."""

Enqueue = Callable[[Key, float], None]


class EndpointRouter:
    def __init__(
        self,
        *,
        endpoints: Endpoints,
        replicas: Cache[ReplicasFact],
        facts: EndpointFacts,
        envoy: EnvoyConfig,
        events: ResourceEvents,
        clock: Clock,
        hold_seconds: float,
        attachments: Attachments | None = None,
    ) -> None:
        self._endpoints = endpoints
        self._replicas = replicas
        self._facts = facts
        self._envoy = envoy
        self._events = events
        self._clock = clock
        self._hold_seconds = hold_seconds
        self._attachments = attachments
        self._statuses: StatusWriter[ArksEndpoint, ArksEndpointStatus] = StatusWriter(endpoints, clock)
        self._records: dict[Key, EndpointRecord] = {}
        self._held: set[Key] = set()
        """Endpoints of which no version could be read."""
        self._neighbours = Neighbours(hold_seconds)
        self._rollouts = Rollouts()
        self._enqueue: Enqueue = lambda key, after_seconds: None
        self._started_at: float | None = None

    def connect(self, enqueue: Enqueue) -> None:
        """Set the function that calls `reconcile` with a key after some seconds."""
        self._enqueue = enqueue
        if self._attachments is not None:
            self._attachments.subscribe(self._attachments_changed)

    # --- changes

    def start(self) -> None:
        """Decide about every endpoint, then open Envoy's configuration. Call it once all caches are synced."""
        self._started_at = self._clock.monotonic()
        self._replicas.subscribe(self._replicas_changed)
        self._endpoints.cache.subscribe(self._endpoint_changed)
        self._envoy.open()
        log.info("routing", endpoints=len(self._records), applications=len(self._replicas))

    def handle_load(self, report: Report, arrived_at: float | None = None) -> None:
        """Store one load report and decide again. Reports about unknown replicas are dropped.

        `arrived_at`: when it came, in monotonic seconds; None: now.
        """
        application = Key(report.namespace, report.application)
        endpoints = self._neighbours.endpoints_of(application)
        if self._neighbours.update_pages(application, report):
            for key in endpoints:
                self._enqueue(key, 0.0)
        loads = self._neighbours.update_load(application, report)
        if loads is None:
            return
        now = self._clock.monotonic()
        for key in endpoints:
            self._records[key].reported_at = now
        if not loads.confirmed:
            self._decide_all(endpoints, arrived_at)

    def handle_demand(self, report: DemandReport) -> None:
        """Note how many requests one replica of token-quota holds for an endpoint, for its status."""
        key, now = Key(report.namespace, report.endpoint), self._clock.monotonic()
        record = self._records.get(key)
        if record is None or not report.holder:
            return
        before = record.held.count(now)
        record.held.take(report.holder, report.held, now, report.held_seconds)
        if bool(before) != bool(record.held.count(now)):
            self._enqueue(key, 0.0)

    @property
    def counts_requests(self) -> bool:
        return self._rollouts.any

    def handle_request(self, key: Key, ended: Ended) -> None:
        """Count a request that ended, for a rollout of its endpoint."""
        record = self._records.get(key)
        if record is not None:
            self._rollouts.add(key, ended, record.newest)

    def tick(self) -> None:
        """Do what the time requires: decide again when readings get stale, drop held applications."""
        for _ in self.tick_steps():
            pass

    def tick_steps(self) -> Iterator[None]:
        """Do the same in steps. Where reports ended, all endpoints are due at once, and others' reports go on."""
        now = self._clock.monotonic()
        for application in self._neighbours.expired(now):
            log.warning("replicas vanished and did not come back", application=str(application))
            self._application_gone(application)
        for key, record in list(self._records.items()):
            if record.is_decision_due(now) and key in self._records:
                self._decide(key)
                yield

    def handle_rejection(self, name: str, message: str) -> None:
        """Store that Envoy rejected the configuration of an endpoint."""
        key = Key(*name.split("/", 1)) if "/" in name else None
        record = self._records.get(key) if key is not None else None
        if key is None or record is None:
            return
        record.rejection = message
        self._enqueue(key, 0.0)

    def _endpoint_changed(self, key: Key) -> None:
        resource = self._endpoints.cache.get(key)
        if resource is None and self._is_obscure(key):
            self._held.add(key)
            self._envoy.hold(str(key))
            self._enqueue(key, 0.0)
            return
        if resource is None or resource.metadata.deletion_timestamp is not None:
            self._forget(key)
            self._enqueue(key, 0.0)
            return
        spec, record = endpoint_spec(resource), self._records.get(key)
        if record is None:
            record = self._records[key] = EndpointRecord(resource, spec)
        elif self._is_known(record, resource, spec):
            record.resource = resource  # only its status changed, which this service wrote
            self._rollouts.update(key, resource)
            return
        self._rollouts.update(key, resource)
        self._neighbours.set_endpoint(key, spec)
        record.resource, record.spec, record.hold_until = resource, spec, None
        self._decide(key)
        self._enqueue(key, 0.0)

    @staticmethod
    def _is_known(record: EndpointRecord, resource: ArksEndpoint, spec: EndpointSpec) -> bool:
        same = record.resource.spec == resource.spec and record.generation == resource.metadata.generation
        return same and record.spec == spec

    def _is_obscure(self, key: Key) -> bool:
        """Whether the endpoint exists and no version of it could be read: Envoy and other services keep what they have.

        While it is being deleted it counts as absent.
        """
        unreadable = self._endpoints.cache.unreadable(key)
        return unreadable is not None and not unreadable.deleting

    def _attachments_changed(self, namespace: str) -> None:
        for key in self._records:
            if key.namespace == namespace:
                self._enqueue(key, 0.0)

    def _forget(self, key: Key) -> None:
        if self._records.pop(key, None) is not None or key in self._held:
            self._held.discard(key)
            self._neighbours.set_endpoint(key, None)
            self._rollouts.update(key, None)
            self._envoy.remove(str(key))

    def _replicas_changed(self, key: Key) -> None:
        before = self._neighbours.endpoints_of(key)
        if self._neighbours.update_replicas(key, self._replicas.get(key), self._clock.monotonic()):
            self._decide_all(sorted({*before, *self._neighbours.endpoints_of(key)}))

    def _application_gone(self, key: Key) -> None:
        endpoints = self._neighbours.endpoints_of(key)
        self._neighbours.forget(key)
        self._decide_all(endpoints)

    # --- decisions

    def _decide_all(self, keys: Iterable[Key], known_at: float | None = None) -> None:
        for key in keys:
            self._decide(key, known_at)

    def _decide(self, key: Key, known_at: float | None = None) -> None:
        """Decide about an endpoint. `known_at`: when the reason arrived, in monotonic seconds; None: now."""
        record, monotonic = self._records[key], self._clock.monotonic()
        decision = record.decide(self._inputs(key, record, monotonic))
        if self._must_hold(record, decision, monotonic):
            self._envoy.hold(str(key), decision)
            return
        before, changed = record.decision, record.add(decision, monotonic)
        if not changed:
            return
        self._envoy.route(str(key), decision, monotonic if known_at is None else known_at)
        urgent = before is None or not decision.roster.routes_like(before.roster)
        self._enqueue(
            key, 0.0 if urgent else max(FIRST_WEIGHT_SECONDS, record.written_at + self._weight_seconds - monotonic)
        )

    @property
    def _weight_seconds(self) -> float:
        return max(WEIGHT_SECONDS, len(self._records) / WEIGHTS_PER_SECOND)

    def _inputs(self, key: Key, record: EndpointRecord, monotonic: float) -> DecisionInput:
        return DecisionInput(
            applications=self._neighbours.applications_for(key, record.spec),
            loads=self._neighbours.loads(key.namespace),
            before=record.comparisons,
            hold=monotonic < (self._started_at or 0.0) + self._hold_seconds,
            now=self._clock.timestamp(),
        )

    def _must_hold(self, record: EndpointRecord, decision: Decision, now: float) -> bool:
        """Return whether Envoy keeps its replicas: the router just started, the endpoint was served before, and no
        fact about its replicas has arrived yet."""
        if decision.reason is not Reason.NO_APPLICATION or record.decision is not None or not record.was_ready:
            record.hold_until = None
            return False
        if record.hold_until is None:
            record.hold_until = (self._started_at or now) + self._hold_seconds
        return now < record.hold_until

    # --- facts, events and statuses

    async def reconcile(self, key: Key) -> Requeue | Blocked | None:
        """Write fact, events and status of one endpoint. Raises Unavailable if NATS or the API server is down."""
        if self._started_at is None:
            return Blocked()  # `start` enqueues every endpoint
        resource, record = self._endpoints.cache.get(key), self._records.get(key)
        if resource is None and self._is_obscure(key):
            self._facts.keep(key)
            return None
        if resource is None or resource.metadata.deletion_timestamp is not None or record is None:
            await self._clean_up(key, resource)
            return None
        if record.decision is None:
            return Blocked()  # held: the fact from before the restart stays
        if not self._envoy.is_rejected(str(key)):
            record.rejection = None
        record.written_at = self._clock.monotonic()
        self._facts.put(key, status.fact(resource, record.decision))
        for change in record.events():
            self._events.publish(
                resource, change.verb, reason=change.reason, message=change.message, replica=change.replica
            )
        result = await self._write_status(key, resource, record, record.decision)
        record.written_at = self._clock.monotonic()  # else the next one would come before its interval is over
        return result

    async def _clean_up(self, key: Key, resource: ArksEndpoint | None) -> None:
        """Remove what belongs to a deleted endpoint."""
        self._facts.remove(key)
        self._statuses.forget(key)
        if self._attachments is not None:
            self._attachments.forget(key)
        unreadable = resource is None and self._endpoints.cache.unreadable(key) is not None
        if unreadable or (resource is not None and FINALIZER in resource.metadata.finalizers):
            await self._endpoints.remove_finalizer(key, FINALIZER)

    async def _write_status(
        self, key: Key, resource: ArksEndpoint, record: EndpointRecord, decision: Decision
    ) -> Requeue | None:
        attachment = await self._attachments.reconcile(resource) if self._attachments is not None else None
        # After a restart weights in the stored status hold until load reports have arrived.
        self._statuses.adopt(resource, just_written=True)
        before = self._statuses.last(resource).status
        rollout = self._rollouts.next(key, resource, before, self._clock.timestamp())
        desired = status.status(
            resource,
            decision,
            notes=unsupported_settings(resource, attached=attachment is not None),
            attachment=attachment,
            rollout=rollout,
            held=self._held_of(record),
            pages=self._neighbours.pages_for(key, record.spec),
            rejection=record.rejection,
            served=self._envoy.is_served(str(key)),
            now=self._clock.now(),
        )
        remaining = self._statuses.wait_seconds(resource, self._weight_seconds)
        if remaining > 0 and status.differs_in_weights_only(desired, before):
            return Requeue(remaining)
        await self._statuses.write(resource, desired)
        if (step := rollout_change(before, desired)) is not None:
            self._events.publish(resource, step.verb, reason=step.reason, message=step.message)
        rechecks = [attachment.recheck_seconds] if attachment is not None else []
        if rollout is not None and rollout.phase is Phase.PROGRESSING:
            rechecks.append(ROLLOUT_SECONDS)
        if record.held.count(self._clock.monotonic()):
            rechecks.append(WEIGHT_SECONDS)
        return Requeue(min(rechecks)) if rechecks else None

    def _held_of(self, record: EndpointRecord) -> Held | None:
        monotonic = self._clock.monotonic()
        if not (count := record.held.count(monotonic)):
            return None
        return Held(count, self._clock.now() - timedelta(seconds=record.held.seconds(monotonic)))

    # --- queries

    def explain(self, key: Key) -> dict[str, Any] | None:
        """Return the newest decision and the last ones that changed something, newest first; None if unknown."""
        record = self._records.get(key)
        if record is None:
            return None
        if record.newest is not None and record.reported_at > record.decided_at:
            self._decide(key)  # with the times of reports that confirm the last decision
        now = self._clock.timestamp()
        return {
            "namespace": key.namespace,
            "name": key.name,
            "newest": None if record.newest is None else status.explanation(record.newest, now),
            "changes": [status.explanation(decision, now) for decision in reversed(record.history)],
        }

    def decisions(self) -> Iterator[tuple[Key, Decision]]:
        """Yield the newest decision of each endpoint."""
        for key, record in sorted(self._records.items(), key=lambda item: item[0]):
            if record.newest is not None:
                yield key, record.newest

    def endpoints(self) -> list[Key]:
        return sorted(self._records)
