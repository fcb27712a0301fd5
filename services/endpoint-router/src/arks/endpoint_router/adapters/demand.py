"""Receive demand reports of token-quota: how many requests wait for an endpoint."""

from collections.abc import Callable

from arks.contracts.subjects import DEMAND_SUBJECTS
from arks.events.v1.load_pb2 import DemandReport
from arks.kit.bus import Bus


async def subscribe_demand(bus: Bus, handle: Callable[[DemandReport], None]) -> None:
    """Call `handle` with each report from now on. It must not block. Raises NATS_ERRORS."""
    await bus.subscribe(DEMAND_SUBJECTS, lambda payload: handle(DemandReport.FromString(payload)))
