"""The table of commands, and what each start imports."""

import importlib
import subprocess
import sys

import pytest

from arks.local.cli.commands import COMMANDS, app_for, command_of, whole_app

HEAVY = ("asyncio", "pydantic", "nats", "google.protobuf", "yaml", "rich", "httpx", "arks.contracts.resources")
"""Modules that cost 30 ms or more."""


def imported(*arguments: str) -> set[str]:
    """The heavy modules that a run of the command imports; it fails, because Arks does not run in that home."""
    program = (
        "import sys\nfrom arks.local.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print('IMPORTED', *[name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=60, check=True
    )
    return set(done.stdout.rpartition("IMPORTED")[2].split())


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--home", "/nowhere", "get", "all"], ["--home", "/nowhere", "status"], ["--version"]],
)
def test_help_get_and_status_import_nothing_heavy(arguments: list[str]) -> None:
    assert imported(*arguments) <= ({"pydantic"} if "--home" in arguments else set())  # typer checks values with it


def test_reading_resources_imports_nothing_heavy() -> None:
    program = "import sys, arks.local.client.snapshot, arks.local.render.resources\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert set() == set(HEAVY) & set(done.stdout.split())


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_its_module(command: str) -> None:
    module = importlib.import_module(f"arks.local.cli.{command}")
    assert hasattr(module, "app" if command in {"model", "token"} else command)


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
