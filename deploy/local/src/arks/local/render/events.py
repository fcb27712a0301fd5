"""`arks events`: one line per event."""

import json
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from arks.local.render.quantities import age
from arks.local.render.table import shorten
from arks.local.render.yaml_text import to_yaml

_WIDTHS = (8, 27, 20)
"""Columns of age, type and object; fixed, so that new lines of a followed log align with earlier ones."""

_MIN_MESSAGE_WIDTH = 40
"""A shorter message would be useless: on a narrow terminal it gets lines of its own."""

_MAX_LINES = 3
"""Of a message with lines of its own."""


@dataclass(frozen=True, slots=True)
class Event:
    """One CloudEvent about a resource."""

    id: str
    time: datetime
    type: str
    """`model.ready`: kind and verb. The type of the CloudEvent is `ai.arks.model.ready.v1`."""
    namespace: str
    name: str
    reason: str
    message: str
    data: Mapping[str, Any]
    """ResourceEvent as protobuf JSON."""
    source: str = "/arks"
    """Path of the service that published it."""


def header(*, namespaces: bool = False, clock: bool = False, width: int = 200) -> str:
    return _line("TIME" if clock else "AGE", "EVENT", "NAMESPACE/OBJECT" if namespaces else "OBJECT", "MESSAGE", width)


def line(event: Event, now: datetime, *, namespaces: bool = False, width: int = 200, clock: bool = False) -> str:
    """`clock`: the local time instead of the age, which would stand still in a log that is followed."""
    subject = f"{event.namespace}/{event.name}" if namespaces else event.name
    when = f"{event.time.astimezone():%H:%M:%S}" if clock else age(event.time, now)
    return _line(when, event.type, subject, event.message or event.reason, width)


def cloud_event(event: Event) -> Mapping[str, Any]:
    """The CloudEvent 1.0 in structured mode, with the attributes that subscribers get as headers."""
    return {
        "specversion": "1.0",
        "id": event.id,
        "source": event.source,
        "type": f"ai.arks.{event.type}.v1",
        "subject": f"{event.namespace}/{event.name}",
        "time": event.time.isoformat(),
        "datacontenttype": "application/json",
        "data": event.data,
    }


def to_json_line(event: Event) -> str:
    return json.dumps(cloud_event(event), ensure_ascii=False) + "\n"


def to_yaml_document(event: Event) -> str:
    """One document of a stream of YAML."""
    return f"---\n{to_yaml(cloud_event(event))}"


def _line(age_text: str, event_type: str, subject: str, message: str, width: int) -> str:
    columns = [cell.ljust(column) for cell, column in zip((age_text, event_type, subject), _WIDTHS, strict=True)]
    start = "  ".join(columns)
    if (room := width - len(start) - 2) >= _MIN_MESSAGE_WIDTH:
        return f"{start}  {shorten(message, room)}".rstrip() + "\n"
    indent = " " * (_WIDTHS[0] + 2)
    lines = textwrap.wrap(
        message, max(20, width), initial_indent=indent, subsequent_indent=indent, max_lines=_MAX_LINES
    )
    return "".join(f"{line.rstrip()}\n" for line in (start, *lines))
