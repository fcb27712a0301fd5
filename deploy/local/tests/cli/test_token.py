"""The life of a key."""

from datetime import datetime
from typing import Any

import pytest

from arks.local.cli.failure import Failure
from arks.local.cli.token import _expiry, _warn_of_missing, rotate_spec
from arks.local.render.kinds import ENDPOINT, QUOTA, TOKEN

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


@pytest.mark.parametrize("text", ["2020-01-01", "0s", "2026-03-01T12:00:00Z"])
def test_a_key_does_not_expire_before_it_exists(text: str) -> None:
    now = datetime.fromisoformat(NOW)
    with pytest.raises(Failure, match="is in the past"):
        _expiry(text, now)
    assert datetime.fromisoformat(LATER) == _expiry("24h", now) == _expiry(LATER, now)


def test_names_that_do_not_exist_are_shown_for_keys_that_work(capsys: pytest.CaptureFixture[str]) -> None:
    def listed(name: str, namespace: str, reason: str) -> dict[str, Any]:
        return {
            "kind": TOKEN.name,
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"qos": [{"arksEndpoint": {"name": f"of-{name}"}}]},
            "status": {"conditions": [{"type": "Ready", "status": "True", "reason": reason}]},
        }

    tokens = [listed("ada", "red", "Ready"), listed("bob", "red", "Disabled"), listed("eve", "blue", "Ready")]
    existing = {TOKEN: tokens, ENDPOINT: [], QUOTA: []}
    _warn_of_missing(existing, "red")
    assert "warning: ArksToken ada names ArksEndpoint of-ada, which does not exist in red\n" == capsys.readouterr().err
    _warn_of_missing(existing, None)
    assert ["ada", "eve"] == [line.split()[2] for line in capsys.readouterr().err.splitlines()]
