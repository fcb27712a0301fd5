"""Queries Kubernetes Events of pods that are missing or wait, at most every few seconds an application."""

from collections.abc import Sequence
from typing import Protocol

import structlog

from arks.app_deployer.domain import start_faults
from arks.app_deployer.domain.pods import GroupRef, Pod, Trouble
from arks.app_deployer.domain.start_faults import NOTHING, Expected, Findings
from arks.kit.clock import Clock
from arks.kit.errors import ArksError
from arks.kit.kube.api import Page
from arks.kit.kube.kinds import EVENT, Kind
from arks.kit.types import Json

log = structlog.get_logger(__name__)

_MOST_PODS = 4
"""Pods whose events are queried at once: those of one application wait for the same reason."""


class Events(Protocol):
    async def list(self, kind: Kind, namespace: str | None, labels: str = "", fields: str = "") -> Page: ...


class StartFaults:
    def __init__(self, api: Events, clock: Clock) -> None:
        self._api = api
        self._clock = clock
        self._found: dict[GroupRef, Findings] = {}
        self._looked_at: dict[GroupRef, float] = {}

    def of(self, ref: GroupRef) -> Findings:
        """What was found last."""
        return self._found.get(ref, NOTHING)

    def forget(self, ref: GroupRef) -> None:
        self._found.pop(ref, None)
        self._looked_at.pop(ref, None)

    async def look(self, ref: GroupRef, expected: Expected, pods: Sequence[Pod]) -> float | None:
        """Query what is due. Returns the seconds until the next look; None if no pod is missing or waits."""
        now = self._clock.now()
        lacking = start_faults.missing(expected, pods)
        waiting = [pod for pod in pods if pod.waits or pod.unschedulable_since is not None]
        if not lacking and not waiting:
            self.forget(ref)
            return None
        before = self.of(ref)
        since = (before.missing_since or now) if lacking else None
        due_seconds = self._seconds_until_due(ref)
        if due_seconds > 0:
            kept = before.missing if lacking else None
            self._found[ref] = Findings(before.pods, before.node_expected, kept, since)
            return due_seconds
        due = [pod for pod in waiting if start_faults.needs_events(pod, now)][:_MOST_PODS]
        missing_seconds = (now - since).total_seconds() if since else 0.0
        if not due and missing_seconds < start_faults.QUIET_SECONDS:
            self._found[ref] = Findings(missing_since=since)
            return start_faults.QUIET_SECONDS
        self._looked_at[ref] = self._clock.monotonic()
        namespace = ref.application.namespace
        events = await self._creation_events(namespace, expected, lacking)
        fault = start_faults.creation_fault(events, expected, lacking)
        fault = fault or start_faults.silent_fault(expected, pods, missing_seconds)
        faults, promised = await self._pod_faults(namespace, due)
        self._found[ref] = Findings(faults, promised, fault, since)
        return start_faults.LOOK_SECONDS

    def _seconds_until_due(self, ref: GroupRef) -> float:
        looked_at = self._looked_at.get(ref)
        return 0.0 if looked_at is None else looked_at + start_faults.LOOK_SECONDS - self._clock.monotonic()

    async def _pod_faults(self, namespace: str, pods: Sequence[Pod]) -> tuple[dict[str, Trouble], frozenset[str]]:
        """Why pods do not start, by uid, and uids of pods that an autoscaler makes a node for."""
        faults: dict[str, Trouble] = {}
        promised: set[str] = set()
        for pod in pods:
            events = await self._events(namespace, f"involvedObject.uid={pod.uid}")
            fault = start_faults.start_fault(events)
            if pod.waits and fault is not None:
                faults[pod.uid] = fault
            if start_faults.node_expected(events):
                promised.add(pod.uid)
        return faults, frozenset(promised)

    async def _creation_events(self, namespace: str, expected: Expected, lacking: Sequence[str]) -> list[Json]:
        events: list[Json] = []
        if lacking:
            for fields in start_faults.creation_events(expected, lacking[:_MOST_PODS]):
                events += await self._events(namespace, fields)
        return events

    async def _events(self, namespace: str, fields: str) -> list[Json]:
        """No events if they cannot be read: a reason for people is missing then, and sets are written all the same."""
        try:
            return (await self._api.list(EVENT, namespace, fields=fields))[0]
        except ArksError as error:
            log.warning("Kubernetes Events cannot be read", namespace=namespace, error=str(error))
            return []
