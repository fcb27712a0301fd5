"""The life of a key."""

from typing import Any

import pytest

from arks.local.cli.failure import Failure
from arks.local.cli.token import rotate_spec

NOW, LATER = "2026-03-01T12:00:00Z", "2026-03-02T12:00:00Z"


def test_the_old_key_works_for_the_grace_period() -> None:
    expired = {"tokenHash": "older", "until": "2026-02-01T00:00:00Z"}
    valid = {"tokenHash": "old", "until": "2026-03-01T13:00:00Z"}
    spec: dict[str, Any] = {"tokenHash": "present", "previous": [expired, valid]}
    rotate_spec(spec, "new", LATER, NOW)
    assert {"tokenHash": "new", "previous": [{"tokenHash": "present", "until": LATER}, valid]} == spec


def test_without_grace_the_old_key_stops_at_once() -> None:
    spec: dict[str, Any] = {"tokenHash": "present"}
    rotate_spec(spec, "new", None, NOW)
    assert {"tokenHash": "new", "previous": []} == spec


def test_a_key_in_a_secret_is_changed_there() -> None:
    with pytest.raises(Failure, match="in a Secret"):
        rotate_spec({"tokenSecretRef": {"name": "s"}}, "new", LATER, NOW)
