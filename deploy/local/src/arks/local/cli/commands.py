"""The parser of the command line, with the module of each command.

Only the module of the command that runs is imported: help is printed at once, and so is a table.
"""

import importlib
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from arks.local.cli import values
from arks.local.cli.catalog import COMMANDS, HELP, ON_ONE_MACHINE
from arks.local.cli.failure import Exit, fail
from arks.local.cli.home import DEFAULT_RELEASE_NAMESPACE
from arks.local.cli.options import RootContextOption, RootHomeOption, RootReleaseOption

_GROUPS = frozenset({"model", "rollout", "token"})
"""Commands with commands of their own; their modules have an `app`."""
_SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
_VALUE_OPTIONS = ("--home", "--context", "--arks-namespace")
"""Options before the command that take a value."""


def app_for(arguments: Sequence[str]) -> typer.Typer:
    """The app for a command line. All commands are known to it; only the one that runs is more than a line of help."""
    name = command_of(arguments)
    app = _root()
    for command, line in COMMANDS.items():
        if command == name:
            _add(app, command)
        else:
            app.command(command, help=line)(_stub)
    return app


def whole_app() -> typer.Typer:
    """The app with all commands, for completion and tests."""
    app = _root()
    for command in COMMANDS:
        _add(app, command)
    return app


def command_of(arguments: Sequence[str]) -> str | None:
    """The name of the command: the first argument that is neither an option nor an option's value."""
    skip = False
    for argument in arguments:
        if skip or argument.startswith("-"):
            skip = argument in _VALUE_OPTIONS
            continue
        return argument
    return None


def _root() -> typer.Typer:
    values.install()
    app = typer.Typer(
        name="arks",
        help=HELP,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings=_SETTINGS,
    )
    app.callback()(_options)
    return app


def _add(app: typer.Typer, command: str) -> None:
    module = importlib.import_module(f"arks.local.cli.{command}")
    if command in _GROUPS:
        app.add_typer(module.app)
    else:
        app.command(command)(getattr(module, command))


def _stub() -> None:
    """Stands for a command that does not run."""


def _version(requested: bool) -> None:
    if requested:
        from importlib.metadata import version

        typer.echo(f"arks {version('arks-local')}")
        raise typer.Exit


def _options(
    parsing: typer.Context,
    home: RootHomeOption = None,
    context: RootContextOption = None,
    arks_namespace: RootReleaseOption = DEFAULT_RELEASE_NAMESPACE,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options before the command apply to every command."""
    command = parsing.invoked_subcommand or ""
    if context is not None and command in ON_ONE_MACHINE:
        fail(f"`arks {command}` works on one machine only", f"on a cluster: {ON_ONE_MACHINE[command]}", Exit.USAGE)
