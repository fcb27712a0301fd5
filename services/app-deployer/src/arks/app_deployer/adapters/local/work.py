"""How much work each replica has, from metrics' load reports: the one with the least is removed first."""

from collections.abc import Mapping

from arks.contracts.subjects import LOAD_SUBJECTS
from arks.events.v1.load_pb2 import LoadReport, ReplicaLoad
from arks.kit.bus import Bus
from arks.kit.clock import Clock
from arks.kit.key import Key

FRESH_SECONDS = 5.0
"""An older report decides nothing; metrics sends several a second."""


class Work:
    """The newest report of each application that has several replicas."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._newest: dict[Key, tuple[float, Mapping[str, float]]] = {}

    async def subscribe(self, bus: Bus) -> None:
        """Raises NATS_ERRORS."""
        await bus.subscribe(LOAD_SUBJECTS, lambda payload: self.take(LoadReport.FromString(payload)))

    def take(self, report: LoadReport) -> None:
        key = Key(report.namespace, report.application)
        if len(report.replicas) < 2:
            self._newest.pop(key, None)
            return
        requests = {load.name: _requests(load) for load in report.replicas if not load.problem}
        self._newest[key] = self._clock.monotonic(), requests

    def of(self, key: Key) -> Mapping[str, float]:
        """Requests in flight by replica; nothing of replicas that give no signals, or if the report is old."""
        at, requests = self._newest.get(key, (0.0, {}))
        return requests if self._clock.monotonic() - at <= FRESH_SECONDS else {}


def _requests(load: ReplicaLoad) -> float:
    return load.running_requests + load.waiting_requests
