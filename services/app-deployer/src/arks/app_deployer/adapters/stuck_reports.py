"""Receive metrics' reports of stuck engines over NATS."""

from collections.abc import Callable

from arks.contracts.load import STUCK_SECONDS
from arks.contracts.subjects import STUCK_SUBJECTS
from arks.events.v1.load_pb2 import LoadReport, ReplicaLoad
from arks.kit.bus import Bus
from arks.kit.key import Key

EndStuck = Callable[[Key, str, int, str], object]
"""(application, replica, its port, why it is stuck). Must not block; repeated until it has ended."""


async def subscribe_stuck(bus: Bus, end: EndStuck) -> None:
    """Call `end` for each stuck replica from now on, after reconnects too. Raises NATS_ERRORS."""

    def take(payload: bytes) -> None:
        report = LoadReport.FromString(payload)
        for load in report.replicas:
            if load.stalled_seconds >= STUCK_SECONDS:
                end(Key(report.namespace, report.application), load.name, load.port, _reason(load))

    await bus.subscribe(STUCK_SUBJECTS, take)


def _reason(load: ReplicaLoad) -> str:
    return f"it had requests and made no step for {load.stalled_seconds:.0f} s"
