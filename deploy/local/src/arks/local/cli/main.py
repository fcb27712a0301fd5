"""Entry point of the arks command."""

import os
import sys
from typing import Annotated

import typer

from arks.local.cli import token
from arks.local.cli.apply import apply
from arks.local.cli.chat import chat
from arks.local.cli.delete import delete
from arks.local.cli.describe import describe
from arks.local.cli.down import down
from arks.local.cli.events import events
from arks.local.cli.explain import explain
from arks.local.cli.failure import Exit, Failure
from arks.local.cli.get import get
from arks.local.cli.logs import logs
from arks.local.cli.options import RootHomeOption
from arks.local.cli.status import status
from arks.local.cli.top import top
from arks.local.cli.up import up
from arks.local.cli.usage import usage

_HELP = """
Run and manage Arks on this machine: models behind one OpenAI-compatible URL.

\b
Start here:
  arks up                      start Arks and a small demo model
  arks chat "Hello"            chat with it
  arks status                  show health and URLs
  arks apply -f models.yaml    serve your own models

\b
Exit codes: 0 done, 1 failed, 2 wrong usage or invalid manifest,
            3 Arks is not running, 4 timed out.
"""

app = typer.Typer(
    name="arks",
    help=_HELP,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(requested: bool) -> None:
    if requested:
        from importlib.metadata import version

        typer.echo(f"arks {version('arks-local')}")
        raise typer.Exit


@app.callback()
def root(
    home: RootHomeOption = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options before the command apply to every command."""


for _command in (up, down, status, get, describe, apply, delete, logs, top, explain, events, chat, usage):
    app.command()(_command)
app.add_typer(token.app)


def main() -> None:
    """Run the command. An error is printed as one message with the next step; ARKS_DEBUG=1 shows its traceback."""
    try:
        app(_kubectl_spelling(sys.argv[1:]))
    except Failure as failure:
        _print_error(str(failure), failure.next_step)
        code = failure.code
    except BrokenPipeError:  # the reader has closed our output, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = Exit.OK
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:  # the outermost frame: users get a message, not a traceback
        if os.environ.get("ARKS_DEBUG"):
            raise
        _print_error(*_message(error))
        code = Exit.FAILED
    else:
        code = Exit.OK
    sys.exit(code)


def _kubectl_spelling(arguments: list[str]) -> list[str]:
    """Accept kubectl's `--wait=false` for `--no-wait`."""
    return [{"--wait=false": "--no-wait", "--wait=true": "--wait"}.get(argument, argument) for argument in arguments]


def _message(error: BaseException) -> tuple[str, str]:
    """The message for an error, and the next step."""
    from arks.kit.errors import ArksError

    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, Failure):
        return str(error), error.next_step
    if isinstance(error, (ArksError, OSError)):
        return str(error), "see `arks status`"
    return f"internal error: {type(error).__name__}: {error}", "run it again with ARKS_DEBUG=1 to see the traceback"


def _print_error(message: str, next_step: str) -> None:
    typer.echo(f"arks: {message}", err=True)
    if next_step:
        typer.echo(f"      {next_step}", err=True)


if __name__ == "__main__":
    main()
