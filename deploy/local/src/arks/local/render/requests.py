"""`arks requests`: one line per request."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from arks.local.render.plain import camel_case
from arks.local.render.table import shorten

_FORMAT = "{:<8}  {:<22}  {:<14}  {:>6}  {:>7}  {:>7}  {:>7}  {:>8}"
_WIDE = "  {:>6}  {:>5}  {}"
_WIDE_COLUMNS = 140
"""Of a terminal on which the answer's speed and the replica fit as well."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request that has ended, or that was charged because its end never came."""

    id: str
    started_at: datetime
    namespace: str
    token: str
    endpoint: str
    status: int
    prompt_tokens: int
    completion_tokens: int
    first_byte_milliseconds: int
    """0 if there was no answer."""
    duration_milliseconds: int
    replica: str
    """host:port of the last attempt; empty if no replica got the request."""
    source: str
    """Where the numbers of tokens are from."""
    attempts: int = 1
    """How often it was sent to a replica."""
    replica_name: str = ""
    """Empty if the replica is not there any more."""

    @property
    def has_end(self) -> bool:
        """Whether the gateway logged its end. Of others (Envoy was killed) only start and reservation are known."""
        return self.status != 0 or self.source != "reservation"

    @property
    def tokens_per_second(self) -> float | None:
        """Of the answer after its first byte; None for less than two tokens or without a time."""
        milliseconds = self.duration_milliseconds - self.first_byte_milliseconds
        if self.completion_tokens < 2 or not self.first_byte_milliseconds or milliseconds <= 0:
            return None
        return round(1000 * (self.completion_tokens - 1) / milliseconds, 1)

    def as_data(self) -> Mapping[str, Any]:
        """Plain data with names as in the other outputs."""
        started_at = self.started_at.astimezone(UTC).isoformat()
        return camel_case(asdict(self) | {"started_at": started_at, "tokens_per_second": self.tokens_per_second})


def header(width: int) -> str:
    """`width`: of the terminal, in columns."""
    more = _WIDE.format("TOK/S", "TRIES", "REPLICA") if width >= _WIDE_COLUMNS else ""
    return _FORMAT.format("TIME", "MODEL", "TOKEN", "STATUS", "IN", "OUT", "FIRST", "DURATION") + more + "\n"


def line(request: Request, width: int) -> str:
    """`width`: as for the header."""
    first = _seconds(request.first_byte_milliseconds) if request.first_byte_milliseconds else "-"
    return (
        _FORMAT.format(
            f"{request.started_at.astimezone():%H:%M:%S}",
            shorten(request.endpoint, 22),
            shorten(request.token, 14),
            request.status or "-",
            f"{request.prompt_tokens:,}",
            f"{request.completion_tokens:,}",
            first,
            _seconds(request.duration_milliseconds) if request.has_end else "-",
        )
        + (_more(request) if width >= _WIDE_COLUMNS else "")
        + "\n"
    )


def _more(request: Request) -> str:
    speed = "-" if request.tokens_per_second is None else f"{request.tokens_per_second:.0f}"
    if not request.has_end:
        return _WIDE.format(speed, "-", "no end was logged")
    return _WIDE.format(speed, request.attempts, request.replica_name or request.replica or "-")


def _seconds(milliseconds: int) -> str:
    return f"{milliseconds / 1000:.2f} s" if milliseconds < 100_000 else f"{milliseconds / 1000:.0f} s"


def to_json_line(request: Request) -> str:
    return json.dumps(request.as_data(), ensure_ascii=False) + "\n"
