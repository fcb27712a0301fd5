"""An empty list about a resource that does not exist names it."""

from datetime import UTC, datetime
from typing import Any

import pytest

from arks.local.cli import missing
from arks.local.cli.failure import Failure
from arks.local.cli.missing import fail_if_missing, print_nothing, warn_of_missing
from arks.local.files.paths import DEFAULT_HOME
from arks.local.render.kinds import ENDPOINT, TOKEN, Kind

EXISTING = {
    ENDPOINT: [{"metadata": {"name": "smollm2", "namespace": "default"}}],
    TOKEN: [{"metadata": {"name": "ada", "namespace": "team-a"}}],
}


@pytest.fixture(autouse=True)
def resources(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(_: object, kinds: list[Kind]) -> dict[Kind, list[dict[str, Any]]]:
        return {kind: EXISTING[kind] for kind in kinds}

    monkeypatch.setattr(missing, "read", read)


@pytest.mark.parametrize(
    ("kind", "name", "namespace", "message", "next_step"),
    [
        (ENDPOINT, "smollm", "default", "there is no ArksEndpoint 'smollm' in namespace default", "mean smollm2?"),
        (ENDPOINT, "xyz", None, "there is no ArksEndpoint 'xyz' in any namespace", "see `arks get endpoints -A`"),
        (TOKEN, "ada", "default", "there is no ArksToken 'ada' in namespace default", "there is one with `-n team-a`"),
    ],
)
def test_what_does_not_exist_is_named_with_the_next_step(
    kind: Kind, name: str, namespace: str | None, message: str, next_step: str
) -> None:
    with pytest.raises(Failure, match=message) as raised:
        fail_if_missing(DEFAULT_HOME, [(kind, name)], namespace)
    assert next_step in raised.value.next_step


def test_what_exists_may_have_nothing() -> None:
    fail_if_missing(DEFAULT_HOME, [(ENDPOINT, "smollm2"), (TOKEN, "ada")], None)


def test_without_the_right_to_read_resources_nothing_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise Failure("you may not list endpoints")

    monkeypatch.setattr(missing, "read", refuse)
    fail_if_missing(DEFAULT_HOME, [(ENDPOINT, "xyz")], None)


def test_following_what_does_not_exist_warns_and_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    warn_of_missing(DEFAULT_HOME, [(ENDPOINT, "xyz")], "default")
    assert "there is no ArksEndpoint 'xyz' in namespace default; waiting for it" in capsys.readouterr().err


def test_an_empty_list_names_its_namespace(capsys: pytest.CaptureFixture[str]) -> None:
    print_nothing("requests", datetime(2026, 11, 30, 6, 54, tzinfo=UTC), "nowhere")
    assert "No requests since 2026-11-30 06:54 UTC in namespace nowhere (-A: in all).\n" == capsys.readouterr().err
    print_nothing("events", datetime(2026, 11, 30, 6, 54, tzinfo=UTC), None)
    assert "No events since 2026-11-30 06:54 UTC.\n" == capsys.readouterr().err
