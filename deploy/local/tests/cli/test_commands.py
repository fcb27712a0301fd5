"""The table of commands, and what each start imports."""

import importlib
import subprocess
import sys

import pytest

from arks.local.cli.catalog import COMMANDS, root_help
from arks.local.cli.commands import app_for, command_of, whole_app

HEAVY = (
    "asyncio",
    "pydantic",
    "nats",
    "google.protobuf",
    "yaml",
    "rich",
    "httpx",
    "aiohttp",
    "arks.contracts.resources",
    "kubernetes_asyncio",
)
"""Modules that cost 30 ms or more."""
PARSER = "typer"


def imported(*arguments: str) -> set[str]:
    """The heavy modules that a run of the command imports; it fails, because Arks does not run in that home."""
    program = (
        "import sys\nfrom arks.local.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print('IMPORTED', *[name for name in {(*HEAVY, PARSER)!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=60, check=True
    )
    return set(done.stdout.rpartition("IMPORTED")[2].split())


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["help"]])
def test_help_imports_not_even_the_parser(arguments: list[str]) -> None:
    assert set() == imported(*arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--home", "/nowhere", "get", "all"],
        ["--home", "/nowhere", "get", "models", "x", "-n", "team", "-A", "-o", "wide", "-l", "a=b"],
        ["--home", "/nowhere", "quota", "team"],
        ["--home", "/nowhere", "status"],
        ["--home", "/nowhere", "wait", "app", "x", "--timeout", "5"],
        ["--version"],
    ],
)
def test_commands_that_look_import_nothing_heavy(arguments: list[str]) -> None:
    assert {PARSER} == imported(*arguments)


def test_help_is_what_the_parser_prints(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    app_for([])(["--help"], prog_name="arks", standalone_mode=False)
    assert capsys.readouterr().out == f"{root_help()}\n"


def test_reading_resources_imports_nothing_heavy() -> None:
    program = "import sys, arks.local.client.snapshot, arks.local.render.resources\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert set() == set(HEAVY) & set(done.stdout.split())


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_its_module(command: str) -> None:
    module = importlib.import_module(f"arks.local.cli.{command}")
    assert hasattr(module, "app" if command in {"model", "rollout", "token"} else command)


def test_help_fits_a_narrow_terminal() -> None:
    assert max(len(line) for line in COMMANDS.values()) <= 55


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["get", "all"], "get"),
        (["--home", "/x", "get"], "get"),
        (["--home=/x", "get"], "get"),
        (["--help"], None),
    ],
)
def test_the_command_is_found_behind_options(arguments: list[str], expected: str | None) -> None:
    assert expected == command_of(arguments)


def test_all_commands_are_known_whichever_runs() -> None:
    names = {command.name for command in app_for(["get"]).registered_commands}
    assert set(COMMANDS) - {"get"} <= names
    whole = whole_app()
    assert len(COMMANDS) == len(whole.registered_commands) + len(whole.registered_groups)
