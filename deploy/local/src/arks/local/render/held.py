"""Requests that wait at the gateway for a replica: for which endpoint and application, since when, until when. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from arks.local.render.plain import Object, camel_case, lookup, parse_time
from arks.local.render.quantities import duration

if TYPE_CHECKING:
    from arks.events.v1.facts_pb2 import ScalingFact
    from arks.events.v1.load_pb2 import DemandReport

VALID_SECONDS = 5.0
"""Of a demand report: token-quota sends two a second while requests wait."""


@dataclass(frozen=True, slots=True)
class Held:
    """Those of one model."""

    namespace: str
    model: str
    """The public name."""
    application: str
    """The one that is started for them; empty if unknown."""
    requests: int
    for_seconds: float
    expected_seconds: float | None = None
    """Until the first replica should be ready, by the measured start-up time; below 0: it is late."""


def sentence(held: Held) -> str:
    count = "1 request" if held.requests == 1 else f"{held.requests} requests"
    text = f"{count} for {held.namespace}/{held.model} held for {duration(held.for_seconds)}"
    if held.application:
        text += f", application {held.application} starts"
    if held.expected_seconds is None:
        return text
    if held.expected_seconds < 0:
        return f"{text}, {duration(-held.expected_seconds)} later than expected"
    return f"{text}, ready in about {duration(held.expected_seconds)}"


def as_data(found: Sequence[Held]) -> list[Mapping[str, Any]]:
    return [camel_case(asdict(held)) for held in found]


def of_autoscalers(autoscalers: Iterable[Object], now: datetime) -> list[Held]:
    """By the statuses of autoscalers. Those of both stages have the same requests: the last start counts."""
    found: dict[tuple[str, str], Held] = {}
    for autoscaler in autoscalers:
        held = lookup(autoscaler, ".status.held")
        if held is None:
            continue
        since, expected = parse_time(held.get("since")), parse_time(held.get("expectedTime"))
        key = autoscaler["metadata"]["namespace"], held["model"]
        item = Held(
            *key,
            autoscaler["spec"]["target"]["name"],
            held["requests"],
            0.0 if since is None else (now - since).total_seconds(),
            None if expected is None else (expected - now).total_seconds(),
        )
        if key not in found or (item.expected_seconds or 0.0) > (found[key].expected_seconds or 0.0):
            found[key] = item
    return [found[key] for key in sorted(found)]


def of_reports(
    reports: Iterable[tuple[float, "DemandReport"]], facts: Iterable["ScalingFact"], now: float
) -> list[Held]:
    """By demand reports, each with the monotonic second in which it was received; holders of a model are added."""
    scaled = {(fact.namespace, fact.served_model): fact for fact in facts}
    found: dict[tuple[str, str], Held] = {}
    for at, report in reports:
        if not report.held or now - at > VALID_SECONDS:
            continue
        key = report.namespace, report.model or report.endpoint
        fact = scaled.get(key)
        before = found.get(key)
        seconds = max(report.held_seconds + now - at, 0.0 if before is None else before.for_seconds)
        found[key] = Held(
            *key,
            "" if fact is None else fact.application,
            report.held + (0 if before is None else before.requests),
            seconds,
            None if fact is None else fact.start_seconds - seconds,
        )
    return [found[key] for key in sorted(found)]
