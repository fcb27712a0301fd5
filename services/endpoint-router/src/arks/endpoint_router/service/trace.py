"""A trace: what an endpoint's decisions were made from, a line of JSON for each change, in the order of time.

    {"at": 1764400000.25, "endpoint": <manifest of the ArksEndpoint>}
    {"at": 1764400000.25, "replicas": <arks.events.v1.ReplicasFact as JSON>}
    {"at": 1764400000.50, "load": <arks.events.v1.LoadReport as JSON>}
    {"at": 1764400060.25, "end": {}}

`at` is in seconds since the epoch, by the clock of the load reports. The first line has the endpoint. `arks record`
writes traces.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from google.protobuf.json_format import ParseDict, ParseError
from pydantic import ValidationError

from arks.contracts.resources import ArksEndpoint
from arks.events.v1.facts_pb2 import ReplicasFact
from arks.events.v1.load_pb2 import LoadReport

Content = ArksEndpoint | ReplicasFact | LoadReport | None
"""None: the end of the recording."""


class NotATrace(ValueError):
    """The text is no trace; the message has the number of the line."""


@dataclass(frozen=True, slots=True)
class Line:
    at: float
    """Seconds since the epoch."""
    content: Content


def read(lines: Iterable[str]) -> Iterator[Line]:
    """Yield the lines of a trace. Raises NotATrace."""
    before = float("-inf")
    for number, text in enumerate(lines, start=1):
        try:
            line = _line(text)
        except (ValueError, KeyError, TypeError, ParseError, ValidationError) as error:
            raise NotATrace(f"line {number}: {error}") from error
        if (number == 1) != isinstance(line.content, ArksEndpoint):
            raise NotATrace(f"line {number}: a trace has its endpoint in the first line, and only there")
        if line.at < before:
            raise NotATrace(f"line {number}: its time is before that of the line above")
        before = line.at
        yield line


def _line(text: str) -> Line:
    """Raises ValueError, KeyError, TypeError, ParseError or ValidationError."""
    given = json.loads(text)
    at = float(given["at"])
    if "endpoint" in given:
        return Line(at, ArksEndpoint.from_stored(given["endpoint"]))
    if "replicas" in given:
        return Line(at, ParseDict(given["replicas"], ReplicasFact(), ignore_unknown_fields=True))
    if "end" in given:
        return Line(at, None)
    return Line(at, ParseDict(given["load"], LoadReport(), ignore_unknown_fields=True))
