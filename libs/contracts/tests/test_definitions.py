"""What an API server accepts, Arks can read: every field of every sample with many wrong values."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

from pydantic import ValidationError

from arks.contracts.resources import KINDS, Location, Secret

WRONG: tuple[Any, ...] = (
    *(None, "", "x", "UPPER", "a b", "x" * 5000),
    *(0, -1, 1, 2**31, 1.5, True),
    *([], ["x"], [1], {}, {"secretName": "x"}, {"name": 5}, {"name": "Not A Name"}, {"arks.ai/slots": "many"}),
)
TIMES = {"until", "expiresAt"}
"""Checked by an API server, but not by its stand-in here: `format: date-time`."""


def paths(value: Any, at: Location = ()) -> Iterator[Location]:
    if at and at[-1] not in TIMES:
        yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in inner:
        yield from paths(part, (*at, name))


def changed(item: dict[str, Any], at: Location, value: Any) -> dict[str, Any]:
    made = copy.deepcopy(item)
    target: Any = made
    for part in at[:-1]:
        target = target[part]
    target[at[-1]] = value
    return made


def test_what_an_api_server_accepts_can_be_read(
    sample: tuple[str, str],
    read_manifests: Callable[[str], list[dict[str, Any]]],
    accepts: Callable[[dict[str, Any]], bool],
) -> None:
    unreadable = []
    for item in read_manifests(sample[1]):
        kind = KINDS[item["kind"]]
        if kind is Secret:
            continue
        for at in paths({"spec": item["spec"]}):
            for value in WRONG:
                made = changed(item, at, value)
                try:
                    kind.from_stored(made)
                except ValidationError:
                    unreadable += [(at, value)] if accepts(made) else []
    assert [] == unreadable
