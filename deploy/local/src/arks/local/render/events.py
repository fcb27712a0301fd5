"""`arks events`: one line per event."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from arks.local.render.quantities import age
from arks.local.render.table import shorten

_WIDTHS = (6, 26, 22)
"""Columns of age, type and object; fixed, so that new lines of a followed log align with earlier ones."""

_MIN_MESSAGE_WIDTH = 60
"""A shorter message would be useless: on a narrow terminal it wraps instead."""


@dataclass(frozen=True, slots=True)
class Event:
    """One CloudEvent about a resource."""

    id: str
    time: datetime
    type: str
    """`model.ready`: kind and verb."""
    namespace: str
    name: str
    reason: str
    message: str
    data: Mapping[str, Any]
    """ResourceEvent as protobuf JSON."""


def header(*, namespaces: bool = False) -> str:
    return _line("AGE", "EVENT", "NAMESPACE/OBJECT" if namespaces else "OBJECT", "MESSAGE", 200)


def line(event: Event, now: datetime, *, namespaces: bool = False, width: int = 200) -> str:
    subject = f"{event.namespace}/{event.name}" if namespaces else event.name
    return _line(age(event.time, now), event.type, subject, event.message or event.reason, width)


def to_json_line(event: Event) -> str:
    """A CloudEvent in structured mode, on one line."""
    return json.dumps(
        {
            "id": event.id,
            "time": event.time.isoformat(),
            "type": event.type,
            "subject": f"{event.namespace}/{event.name}",
            "data": event.data,
        },
        ensure_ascii=False,
    )


def _line(age_text: str, event_type: str, subject: str, message: str, width: int) -> str:
    columns = [cell.ljust(column) for cell, column in zip((age_text, event_type, subject), _WIDTHS, strict=True)]
    start = "  ".join(columns)
    return f"{start}  {shorten(message, max(_MIN_MESSAGE_WIDTH, width - len(start) - 2))}".rstrip() + "\n"
