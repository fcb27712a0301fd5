"""Why a PVC is not bound or a worker does not start, from Kubernetes Events."""

from arks.kit.clock import Clock
from arks.kit.key import Key
from arks.kit.kube.api import KubeApi
from arks.kit.kube.event_reasons import newest_event
from arks.kit.kube.kinds import EVENT
from arks.kit.types import Json
from arks.model_manager.adapters.kubernetes.interpretation import outcome_of
from arks.model_manager.adapters.kubernetes.states import ObservedJob, ObservedPod, ObservedPvc

_QUIET_SECONDS = 2.0
"""A Job or pod may take so long to start before its Kubernetes Events are queried."""


class Faults:
    def __init__(self, api: KubeApi, clock: Clock) -> None:
        self._api = api
        self._clock = clock

    async def of_pending(self, key: Key, pvc: ObservedPvc) -> tuple[str, str]:
        """Reason and message of a pending PVC's last Kubernetes Event; empty for other PVCs. Raises ArksError."""
        if pvc.phase != "Pending" or pvc.deleting:
            return "", ""
        return newest_event(await self._events(key.namespace, pvc.uid))

    async def of_start(self, job: ObservedJob, pod: ObservedPod | None) -> str:
        """Why a worker does not start, if only a Kubernetes Event has the reason; otherwise empty. Raises ArksError."""
        known = pod is not None and (pod.running or pod.blocked is not None)
        started = known or job.ended or outcome_of(job, pod) is not None
        since = (pod or job).created_at
        if started or (self._clock.now() - since).total_seconds() < _QUIET_SECONDS:
            return ""
        events = await self._events(job.key.namespace, (pod or job).uid)
        reason, message = newest_event(events, faults_only=True)
        return f"{reason}: {message}" if reason else ""

    async def _events(self, namespace: str, uid: str) -> list[Json]:
        return (await self._api.list(EVENT, namespace, fields=f"involvedObject.uid={uid}"))[0]
