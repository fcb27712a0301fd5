"""Receive load reports of metrics over NATS."""

from collections.abc import Callable

from arks.contracts.subjects import LOAD_SUBJECTS
from arks.events.v1.load_pb2 import LoadReport
from arks.kit.bus import Bus


async def subscribe_load(bus: Bus, handle: Callable[[LoadReport], None]) -> None:
    """Call `handle` with each report from now on, after reconnects too. It must not block. Raises NATS_ERRORS."""
    await bus.subscribe(LOAD_SUBJECTS, lambda payload: handle(LoadReport.FromString(payload)))
