"""Writes Kubernetes Events on resources that the API server accepted and Arks cannot read.

A CRD cannot express every rule of the resource types. Such a resource counts as absent and gets no status, so the
Event is how its user sees the fault.
"""

import asyncio

from pydantic import ValidationError

from arks.contracts.manifests.messages import field_path, sentence
from arks.contracts.resources import Resource
from arks.kit.kube.events import KubeEventQueue, KubeEvents
from arks.kit.types import Json

INVALID_SPEC = "InvalidSpec"
_MAX_WAITING = 100


class UnreadableResources:
    def __init__(self, events: KubeEvents, leading: asyncio.Event) -> None:
        self._queue = KubeEventQueue(events, leading, max_waiting=_MAX_WAITING)
        self.run = self._queue.run

    def __call__(self, obj: Json, fault: str) -> None:
        """Does not block; drops the fault if too many wait."""
        self._queue.put_on(obj, INVALID_SPEC, fault, warning=True)


def explain(error: ValidationError, kind: type[Resource]) -> str:
    """Return the faults with their fields, without values of secrets."""
    findings = error.errors(include_url=False, include_context=True)
    return "; ".join(f"{field_path(finding['loc'])}: {sentence(finding, kind)}" for finding in findings)
