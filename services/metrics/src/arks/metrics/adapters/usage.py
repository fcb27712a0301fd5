"""Requests that ended, from the usage batches of gateways. Only those from now on: nothing is acknowledged or kept."""

import json
from collections.abc import Callable
from typing import Any

import structlog

from arks.contracts.subjects import USAGE_SUBJECTS
from arks.kit.bus import Bus
from arks.metrics.domain.scaling.traffic import Ended

log = structlog.get_logger(__name__)

Take = Callable[[str, str, Ended], None]
"""Namespace, endpoint, request."""


class UsageFollower:
    """Subscribes to the subjects of the stream, without a consumer on it: what is missed is missed."""

    def __init__(self, bus: Bus, take: Take) -> None:
        self._bus = bus
        self._take = take

    async def start(self) -> None:
        await self._bus.subscribe(USAGE_SUBJECTS, self.take_message)

    def take_message(self, payload: bytes) -> None:
        try:
            batch = json.loads(payload)
            namespace = str(batch["namespace"])
            records = [(str(record.get("endpoint", "")), ended(record)) for record in batch.get("records", ())]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("usage batch not read", error=f"{type(error).__name__}: {error}")
            return
        for endpoint, request in records:
            self._take(namespace, endpoint, request)


def ended(record: dict[str, Any]) -> Ended:
    """A `UsageRecord` as protobuf JSON, which may write numbers as text and leave out zeros. Raises ValueError."""
    completion = int(record.get("completionTokens", 0))
    first = int(record.get("firstByteMilliseconds", 0)) / 1000
    duration = int(record.get("durationMilliseconds", 0)) / 1000
    stream = bool(record.get("stream")) and first > 0
    replica = str(record.get("replica", ""))
    return Ended(
        replica="" if replica == "-" else replica,
        prompt_tokens=int(record.get("promptTokens", 0)),
        completion_tokens=completion,
        first_token_seconds=first if stream else None,
        inter_token_seconds=(duration - first) / (completion - 1) if stream and completion > 1 else None,
    )
