"""Entry point of the arks command."""

import os
import sys
from typing import Annotated

import typer

from arks.local.cli import apply, chat, get, logs, token, top, up, usage
from arks.local.cli.common import Exit, Failure, RootHomeOption

_HELP = """
Arks on this machine: serve models behind one OpenAI-compatible address.

\b
Start here:
  arks up                      start Arks and a small demo model
  arks chat "Hello"            talk to it
  arks status                  is it up, and where
  arks apply -f models.yaml    serve your own

\b
Exit codes: 0 done, 1 failed, 2 wrong usage or wrong manifest,
            3 Arks does not run, 4 it took too long.
"""

app = typer.Typer(
    name="arks",
    help=_HELP,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(wanted: bool) -> None:
    if wanted:
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
    """Options before the command hold for every command."""


for _group in (up, get, apply, logs, top, chat, usage):
    _group.add_to(app)
app.add_typer(token.app)


def main() -> None:
    """Every error that a person can act on is one sentence and the next step; ARKS_DEBUG=1 shows the traceback too."""
    try:
        app(_kubectl_spelling(sys.argv[1:]))
    except Failure as failure:
        _complain(str(failure), failure.next_step)
        code = failure.code
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = Exit.OK
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:  # the outermost frame: people get a sentence, not a traceback
        if os.environ.get("ARKS_DEBUG"):
            raise
        _complain(*_sentence(error))
        code = Exit.FAILED
    else:
        code = Exit.OK
    sys.exit(code)


def _kubectl_spelling(arguments: list[str]) -> list[str]:
    """`--wait=false` is what kubectl's users type for `--no-wait`."""
    return [{"--wait=false": "--no-wait", "--wait=true": "--wait"}.get(argument, argument) for argument in arguments]


def _sentence(error: BaseException) -> tuple[str, str]:
    """What went wrong, and the next step."""
    from arks.kit.errors import ArksError

    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, Failure):
        return str(error), error.next_step
    if isinstance(error, (ArksError, OSError)):
        return str(error), "see `arks status`"
    return f"this should not happen: {type(error).__name__}: {error}", "run it again with ARKS_DEBUG=1 to see where"


def _complain(message: str, next_step: str) -> None:
    typer.echo(f"arks: {message}", err=True)
    if next_step:
        typer.echo(f"      {next_step}", err=True)


if __name__ == "__main__":
    main()
