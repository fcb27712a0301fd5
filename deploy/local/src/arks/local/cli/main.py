"""Entry point of the arks command."""

import os
import sys

import typer
from typer._click.exceptions import NoArgsIsHelpError, UsageError

from arks.local.cli.commands import app_for
from arks.local.cli.failure import Exit, Failure
from arks.local.cli.wrong_usage import failure_of


def main() -> None:
    """Run the command. An error is printed as one message with the next step; ARKS_DEBUG=1 shows its traceback."""
    if "_ARKS_COMPLETE" in os.environ:
        _complete()
    arguments = _kubectl_spelling(sys.argv[1:])
    try:
        returned = app_for(arguments)(arguments, standalone_mode=False)
        code: int = returned if isinstance(returned, int) else Exit.OK
    except Failure as failure:
        _print_failure(failure)
        code = failure.code
    except BrokenPipeError:  # the reader has closed our output, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = Exit.OK
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(130)
    except NoArgsIsHelpError as error:
        print(error.format_message())
        code = Exit.USAGE
    except UsageError as error:
        _print_failure(failure_of(error.format_message(), error.ctx.command_path if error.ctx else "arks", arguments))
        code = Exit.USAGE
    except Exception as error:  # the outermost frame: users get a message, not a traceback
        if os.environ.get("ARKS_DEBUG"):
            raise
        found = _failure(error)
        _print_failure(found)
        code = found.code
    sys.exit(code)


def _complete() -> None:
    """Print what a shell may complete; the script of `arks completion` calls it."""
    from typer._completion_classes import completion_init

    from arks.local.cli.commands import whole_app

    completion_init()
    whole_app()(prog_name="arks", complete_var="_ARKS_COMPLETE")


def _kubectl_spelling(arguments: list[str]) -> list[str]:
    """Accept spellings of kubectl that are not options here."""
    spellings = {"--wait=false": "--no-wait", "--wait=true": "--wait", "--show-labels": "--output=wide"}
    dry_runs = {"--dry-run=client": "--dry-run", "--dry-run=server": "--dry-run", "--dry-run=none": ""}
    spelled = [(spellings | dry_runs).get(argument, argument) for argument in arguments]
    if spelled[:1] == ["help"]:
        spelled = [*spelled[1:], "--help"]
    return [argument for argument in spelled if argument]


def _failure(error: BaseException) -> Failure:
    """The message for an error, with the next step and the exit code."""
    from arks.kit.errors import ArksError

    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, Failure):
        return error
    if isinstance(error, (ArksError, OSError)):
        return Failure(str(error), "see `arks status`")
    trace = "run it again with ARKS_DEBUG=1 to see the traceback"
    return Failure(f"internal error: {type(error).__name__}: {error}", trace)


def _print_failure(failure: Failure) -> None:
    print(f"arks: {failure}", file=sys.stderr)
    if failure.next_step:
        print(f"      {failure.next_step}", file=sys.stderr)


if __name__ == "__main__":
    main()
