"""Requests that ended, from the usage batches of gateways. Nothing is acknowledged or kept."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import structlog

from arks.contracts.subjects import USAGE_SUBJECTS
from arks.endpoint_router.service.rollouts import Ended
from arks.kit.bus import Bus
from arks.kit.key import Key

log = structlog.get_logger(__name__)

BROKEN_FLAGS = frozenset({"UF", "UC", "UT", "UR", "UPE", "SI"})
"""Envoy's response flags of an answer that the engine did not finish; a client's hang-up (DC) is not among them."""


async def subscribe_usage(bus: Bus, wanted: Callable[[], bool], handle: Callable[[Key, Ended], None]) -> None:
    """Call `handle` with each request from now on, while `wanted`. It must not block. Raises NATS_ERRORS."""

    def take(payload: bytes) -> None:
        if wanted():
            for endpoint, ended in requests(payload):
                handle(endpoint, ended)

    await bus.subscribe(USAGE_SUBJECTS, take)


def requests(payload: bytes) -> Iterator[tuple[Key, Ended]]:
    """Yield (endpoint, request) of a usage batch as protobuf JSON. An unreadable one is logged."""
    try:
        batch = json.loads(payload)
        namespace = str(batch["namespace"])
        found = [
            (Key(namespace, str(record.get("endpoint", ""))), ended(record)) for record in batch.get("records", ())
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning("usage batch not read", error=f"{type(error).__name__}: {error}")
        return
    yield from found


def ended(record: dict[str, Any]) -> Ended:
    """Read a `UsageRecord`, in which numbers may be text and zeros absent. Raises ValueError."""
    status, flags = int(record.get("statusCode", 0)), set(str(record.get("responseFlags", "")).split(","))
    completion = int(record.get("completionTokens", 0))
    first = int(record.get("firstByteMilliseconds", 0)) / 1000
    duration = int(record.get("durationMilliseconds", 0)) / 1000
    stream = bool(record.get("stream")) and first > 0 and status == 200
    return Ended(
        replica=str(record.get("replica", "")),
        failed=status >= 500 or not BROKEN_FLAGS.isdisjoint(flags),
        first_token_seconds=first if stream else None,
        inter_token_seconds=(duration - first) / (completion - 1) if stream and completion > 1 else None,
    )
