"""`arks events`: what happened, a line each."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from arks.local.render.quantities import age
from arks.local.render.table import shorten

_WIDTHS = (6, 26, 22)
"""Of age, type and object; fixed, because a line that follows must stand below those already printed."""

_LEAST_MESSAGE = 60
"""Cut further, a message says nothing: on a narrow terminal it goes on in the next line."""


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
    return (
        _line("AGE", "EVENT", "OBJECT", "MESSAGE", 200)
        if not namespaces
        else _line("AGE", "EVENT", "NAMESPACE/OBJECT", "MESSAGE", 200)
    )


def line(event: Event, now: datetime, *, namespaces: bool = False, width: int = 200) -> str:
    thing = f"{event.namespace}/{event.name}" if namespaces else event.name
    return _line(age(event.time, now), event.type, thing, _message(event), width)


def lines(events: Sequence[Event], now: datetime, *, namespaces: bool = False, width: int = 200) -> str:
    return header(namespaces=namespaces) + "".join(
        line(event, now, namespaces=namespaces, width=width) for event in events
    )


def to_json_line(event: Event) -> str:
    """A CloudEvent in structured mode, one a line."""
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


def _message(event: Event) -> str:
    return event.message or event.reason


def _line(when: str, kind: str, thing: str, message: str, width: int) -> str:
    columns = [cell.ljust(wide) for cell, wide in zip((when, kind, thing), _WIDTHS, strict=True)]
    start = "  ".join(columns)
    return f"{start}  {shorten(message, max(_LEAST_MESSAGE, width - len(start) - 2))}".rstrip() + "\n"
