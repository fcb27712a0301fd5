"""Requests for endpoints without a ready replica, as token-quota reports them."""

from collections.abc import Callable

import structlog
from google.protobuf.message import DecodeError

from arks.contracts.subjects import DEMAND_SUBJECTS
from arks.events.v1.load_pb2 import DemandReport
from arks.kit.bus import Bus

log = structlog.get_logger(__name__)

Take = Callable[[str, set[str], int], None]
"""Namespace, names of the model, number of requests."""
TakeHeld = Callable[[str, set[str], str, int, float], None]
"""Namespace, names of the model, who holds the requests, number of requests, since how many seconds."""


class DemandFollower:
    def __init__(self, bus: Bus, take: Take, take_held: TakeHeld) -> None:
        self._bus = bus
        self._take = take
        self._take_held = take_held

    async def start(self) -> None:
        await self._bus.subscribe(DEMAND_SUBJECTS, self.take_message)

    def take_message(self, payload: bytes) -> None:
        try:
            report = DemandReport.FromString(payload)
        except DecodeError as error:
            log.warning("demand report not read", error=str(error))
            return
        names = {name for name in (report.endpoint, report.model) if name}
        if report.refused:
            self._take(report.namespace, names, report.refused)
        if report.holder:
            self._take_held(report.namespace, names, report.holder, report.held, report.held_seconds)
