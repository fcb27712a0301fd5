"""Commands in messages have the options that the user gave."""

import json
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from arks.local.cli import doctor
from arks.local.cli.commands import whole_app
from arks.local.cli.given_options import _NAMESPACED, with_copyable_steps, with_given_options
from arks.local.cli.main import main


@pytest.mark.parametrize(
    ("arguments", "text", "expected"),
    [
        ("", "see `arks status`", "see `arks status`"),
        ("get models", "see `arks status`", "see `arks status`"),
        ("get models --home /srv/a", "see `arks status`", "see `arks --home /srv/a status`"),
        (
            "--home=/srv/a get models",
            "`arks up` waits, `arks down` stops",
            "`arks --home /srv/a up` waits, `arks --home /srv/a down` stops",
        ),
        (
            "--context east --arks-namespace x top",
            "see `arks get all`",
            "see `arks --context east --arks-namespace x get all`",
        ),
        ("--context east up", "`arks up` works on one machine only", "`arks up` works on one machine only"),
        ("wait app x -n red", "see `arks describe app x`", "see `arks describe app x -n red`"),
        ("wait app x -n red", "see `arks describe app x -n blue`", "see `arks describe app x -n blue`"),
        ("get x --namespace=red", "see `arks get apps -A` or `arks status`", "see `arks get apps -A` or `arks status`"),
        ("get --home /srv/a", "see `arks get --help`", "see `arks get --help`"),
        ("chat -- --home /srv/a", "see `arks status`", "see `arks status`"),
        ("up --home /srv/a", "  arks run M    serve M\n", "  arks --home /srv/a run M    serve M\n"),
        ("up --home /srv/a", "  arks get all, arks top\n", "  arks --home /srv/a get all, arks --home /srv/a top\n"),
        ("up --home /a", "  arks down && arks up\n", "  arks --home /a down && arks --home /a up\n"),
        ("up --home /srv/a", 'eval "$(arks env)"', 'eval "$(arks --home /srv/a env)"'),
        ("up --home /srv/a", "Arks is up; arks", "Arks is up; arks"),
    ],
)
def test_a_command_in_a_message_reaches_the_arks_that_the_user_named(arguments: str, text: str, expected: str) -> None:
    assert expected == with_given_options(text, arguments.split())


def test_a_path_is_quoted_for_the_shell() -> None:
    assert "see `arks --home '/a b' status`" == with_given_options("see `arks status`", ["--home", "/a b", "top"])


def test_next_steps_as_data_have_the_options_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "_hub", lambda: ("no network in this test", None))
    monkeypatch.setattr("sys.argv", ["arks", "doctor", "-o", "json", "--home", str(tmp_path)])
    with pytest.raises(SystemExit):
        main()
    steps = [check["nextStep"] for check in json.loads(capsys.readouterr().out)["checks"]]
    assert f"start it with `arks --home {tmp_path} up`" in steps


def test_only_next_steps_of_the_data_get_the_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["arks", "status", "-o", "json", "--home", "/srv/a"])
    problem = {"what": "`arks up`", "message": "write `arks up`", "nextStep": "see `arks logs x`"}
    data = {"phase": "`arks up`", "problems": [problem]}
    completed = problem | {"nextStep": "see `arks --home /srv/a logs x`"}
    assert {"phase": "`arks up`", "problems": [completed]} == with_copyable_steps(data, "problems")


def test_the_namespace_is_added_to_the_commands_that_take_one() -> None:
    app = get_command(whole_app())
    assert isinstance(app, TyperGroup)
    takes = {
        name
        for name, command in app.commands.items()
        for each in getattr(command, "commands", {"": command}).values()
        if any("--namespace" in parameter.opts for parameter in each.params)
    }
    assert takes == _NAMESPACED


def test_the_next_step_of_a_failure_names_the_home(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["arks", "get", "models", "--home", str(tmp_path)])
    with pytest.raises(SystemExit):
        main()
    assert f"start it with `arks --home {tmp_path} up`" in capsys.readouterr().err
