"""`arks requests`: one line per request."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from arks.local.render.table import shorten

_FORMAT = "{:<8}  {:<22}  {:<14}  {:>6}  {:>7}  {:>7}  {:>7}  {:>8}"


@dataclass(frozen=True, slots=True)
class Request:
    """One request that has ended."""

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
    source: str
    """Where the numbers of tokens are from."""

    def as_data(self) -> Mapping[str, Any]:
        """Plain data with names as in the other outputs."""
        data = asdict(self)
        data["started_at"] = self.started_at.astimezone(UTC).isoformat()
        return {_camel(name): value for name, value in data.items()}


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def header() -> str:
    return _FORMAT.format("TIME", "MODEL", "TOKEN", "STATUS", "IN", "OUT", "FIRST", "DURATION") + "\n"


def line(request: Request) -> str:
    first = _seconds(request.first_byte_milliseconds) if request.first_byte_milliseconds else "-"
    return (
        _FORMAT.format(
            f"{request.started_at.astimezone():%H:%M:%S}",
            shorten(request.endpoint, 22),
            shorten(request.token, 14),
            request.status,
            f"{request.prompt_tokens:,}",
            f"{request.completion_tokens:,}",
            first,
            _seconds(request.duration_milliseconds),
        )
        + "\n"
    )


def _seconds(milliseconds: int) -> str:
    return f"{milliseconds / 1000:.2f} s" if milliseconds < 100_000 else f"{milliseconds / 1000:.0f} s"


def to_json_line(request: Request) -> str:
    return json.dumps(request.as_data(), ensure_ascii=False) + "\n"
