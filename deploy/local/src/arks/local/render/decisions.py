"""`arks explain`: recent changes of an endpoint's shares, and why one request went where it went."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

from arks.local.render.plain import parse_time
from arks.local.render.quantities import age
from arks.local.render.requests import Request
from arks.local.render.table import UNLIMITED, wrapped

Decision = Mapping[str, Any]
"""As endpoint-router's `GET /explain` returns it."""
SHOWN = 8
"""Changes; the router keeps 16."""


def affinity(spec: Mapping[str, Any]) -> list[str]:
    """A line about what holds requests of the endpoint together; none without affinity."""
    given = spec.get("affinity")
    if given is None:
        return []
    count = given.get("promptBytes", 1024)
    names = [
        *([f"the header {given['header']}"] if given.get("header") else []),
        "prompt_cache_key",
        *([f"the first {count} bytes of the prompt"] if count else []),
    ]
    return [f"Affinity: by {', else '.join(names)}; busy from {given.get('maxLoadPercent', 125)}% of its part on"]


def excluded(newest: Decision) -> list[str]:
    """A line for each replica that gets no traffic, with the reason."""
    return [
        f"No traffic: {candidate['replica']}: {candidate['reason']}"
        for candidate in newest["candidates"]
        if not candidate["weight"]
    ]


def changes(decisions: Sequence[Decision], now: datetime) -> list[str]:
    """The last changes of shares, newest first; others, as of replicas within a group, are left out."""
    if not decisions:
        return []
    lines = ["Recent changes, with the share of each group:"]
    shown = [(groups(decision) or decision["message"], decision) for decision in decisions]
    changed = [text != before for (text, _), (before, _) in pairwise([*shown, ("", {})])]
    for text, decision in [each for each, is_change in zip(shown, changed, strict=True) if is_change][:SHOWN]:
        lines.append(f"  {age(parse_time(decision['decidedAt']), now):>5} ago  {text}")
    return lines


def request_text(request: Request, decisions: Sequence[Decision], width: int = UNLIMITED) -> str:
    """Where a request went, how long it took, and why. `decisions`: that changed something, newest first."""
    decision = in_force(decisions, request.started_at)
    lines = [
        f"Request {request.id}",
        f"{request.started_at.astimezone():%Y-%m-%d %H:%M:%S}  {request.namespace}/{request.endpoint}"
        f"  token {request.token}  status {request.status or f'none: {_why_no_status(request)}'}",
        f"Replica: {_replica(request, decision)}",
        f"Times: {_times(request)}",
        f"Tokens: {request.prompt_tokens:,} in, {request.completion_tokens:,} out ({request.source})",
        "",
    ]
    if decision is None:
        lines.append("The decision in force then is not kept any more: only the last 16 changes are.")
    else:
        lines.append(f"In force then, since {parse_time(decision['decidedAt']):%H:%M:%S} UTC: {groups(decision)}")
        lines += [f"  {each['replica']}: {each['reason']}" for each in decision["candidates"]]
    return "".join(f"{part}\n" for line in lines for part in wrapped(line, width))


def request_data(request: Request, decisions: Sequence[Decision]) -> dict[str, Any]:
    """As plain data. `decision`: that was in force when the request started; None if it is not kept any more."""
    return {"request": request.as_data(), "decision": in_force(decisions, request.started_at)}


def in_force(decisions: Sequence[Decision], at: datetime) -> Decision | None:
    """The newest decision that was taken before a time; None if it is not among these."""
    taken = ((parse_time(decision["decidedAt"]), decision) for decision in decisions)
    return next((decision for time, decision in taken if time is not None and time <= at), None)


def groups(decision: Decision) -> str:
    """The share of each group, on one line."""
    return ", ".join(f"{group['group']} {100 * group['share']:.1f}%" for group in decision["groups"])


def _why_no_status(request: Request) -> str:
    return "the client left" if request.has_end else "no end was logged"


def _replica(request: Request, decision: Decision | None) -> str:
    if not request.has_end:
        return "not known"
    if not request.replica:
        return "none got it"
    candidates = decision["candidates"] if decision is not None else []
    named = [each["replica"] for each in candidates if each["address"] == request.replica]
    name = named[0] if named else request.replica_name
    tries = "1 attempt" if request.attempts == 1 else f"{request.attempts} attempts"
    return f"{name} ({request.replica}), {tries}" if name else f"{request.replica}, {tries}"


def _times(request: Request) -> str:
    if not request.has_end:
        return "not known"
    if not request.first_byte_milliseconds:
        return f"no answer began; {request.duration_milliseconds / 1000:.2f} s in all"
    speed = f", {request.tokens_per_second:g} tokens/s after it" if request.tokens_per_second is not None else ""
    first, whole = request.first_byte_milliseconds / 1000, request.duration_milliseconds / 1000
    return f"first byte after {first:.2f} s{speed}, {whole:.2f} s in all"
