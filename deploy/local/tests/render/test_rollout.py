"""`arks rollout`: what it shows and changes."""

from typing import Any

import pytest

from arks.local.cli.failure import Failure
from arks.local.cli.rollout import with_command
from arks.local.render.rollout import as_data, as_text


def endpoint(spec: dict[str, Any], status: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"metadata": {"namespace": "team", "name": "chat"}, "spec": spec, "status": status or {}}


def test_a_rollout_is_a_row_with_its_share_and_what_was_measured() -> None:
    written = {"canary": "b", "phase": "Progressing", "percent": 25, "step": 1, "message": "20 requests have ended"}
    rows = as_data([endpoint({"rollout": {"canary": "b"}}, {"rollout": written}), endpoint({})])
    heading, row = as_text(rows, namespaces=False).splitlines()
    assert ["ENDPOINT", "CANARY", "PHASE", "SHARE", "STEP", "MEASURED"] == heading.split()
    assert ["chat", "b", "Progressing", "25", "%", "2", "of", "3", "20", "requests", "have", "ended"] == row.split()


def test_what_was_measured_follows_its_row_on_a_terminal() -> None:
    waits = "0 requests of the canary and 0 of the others have ended; each needs 10"
    rows = as_data([endpoint({"rollout": {"canary": "b"}}, {"rollout": {"canary": "b", "message": waits}})])
    lines = as_text(rows, namespaces=True, width=80).splitlines()
    assert ["NAMESPACE", "ENDPOINT", "CANARY", "PHASE", "SHARE", "STEP"] == lines[0].split()
    assert waits == lines[2].strip()


def test_a_status_of_another_canary_is_not_shown_for_this_one() -> None:
    (row,) = as_data([endpoint({"rollout": {"canary": "c"}}, {"rollout": {"canary": "b", "percent": 100}})])
    assert ("c", "Pending", 0) == (row["canary"], row["phase"], row["percent"])


def test_a_command_changes_nothing_else_and_needs_a_rollout() -> None:
    spec = {"rollout": {"canary": "b", "steps": [10]}}
    with_command("chat", "Abort")(spec)
    assert {"rollout": {"canary": "b", "steps": [10], "command": "Abort"}} == spec
    with pytest.raises(Failure):
        with_command("chat", "Promote")({})
