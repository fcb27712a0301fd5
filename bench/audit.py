"""Requests to an API server by client: counts over its audit log."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, order=True)
class Call:
    """A kind of request."""

    user: str
    """Of a service account: its name; else the user's."""
    verb: str
    resource: str
    """With its group unless that is the core group, and its subresource: `arksmodels.arks.ai/status`."""


class AuditLog:
    """Reads on where it stopped."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_bytes = 0

    def new_calls(self) -> Counter[Call]:
        """Requests that were answered, and watches that were begun, since the last call."""
        found: Counter[Call] = Counter()
        for event in self._events():
            begun = event["verb"] == "watch" and event["stage"] == "ResponseStarted"
            answered = event["verb"] != "watch" and event["stage"] == "ResponseComplete"
            if "objectRef" in event and (begun or answered):
                found[call_of(event)] += 1
        return found

    def _events(self) -> Iterator[dict[str, Any]]:
        with self._path.open("rb") as log:
            log.seek(self._read_bytes)
            for line in log:
                if not line.endswith(b"\n"):
                    return  # still being written
                self._read_bytes += len(line)
                yield json.loads(line)


def call_of(event: dict[str, Any]) -> Call:
    reference = event["objectRef"]
    group, subresource = reference.get("apiGroup", ""), reference.get("subresource", "")
    resource = reference.get("resource", "") + (f".{group}" if group else "")
    user = event["user"]["username"].rpartition(":")[2]
    return Call(user, event["verb"], resource + (f"/{subresource}" if subresource else ""))
