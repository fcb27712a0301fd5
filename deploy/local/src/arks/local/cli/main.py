"""Entry point of the arks command."""

import os
import sys

from arks.local.cli.catalog import is_root_help, root_help
from arks.local.cli.failure import Exit, Failure
from arks.local.cli.given_options import copyable
from arks.local.cli.home import CURRENT


def main() -> None:
    """Run the command. An error is printed as one message with the next step; ARKS_DEBUG=1 shows its traceback."""
    if "_ARKS_COMPLETE" in os.environ:
        _complete()
    try:
        code = _run(_kubectl_spelling(sys.argv[1:]))
        sys.stdout.flush()  # here, where a closed pipe is no error
    except BrokenPipeError:  # the reader has closed our output, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = Exit.OK
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


def kubectl() -> None:
    """`kubectl arks`: the command on the cluster of kubectl's current context, or of --context."""
    context, rest = _context_first(sys.argv[1:])
    sys.argv[1:] = rest if is_root_help(rest) else [*(context or ["--context", CURRENT]), *rest]
    main()


def _run(arguments: list[str]) -> int:
    """The exit code."""
    if is_root_help(arguments):
        print(root_help())
        return Exit.OK if arguments else Exit.USAGE
    try:
        return _parse_and_run(arguments)
    except Failure as failure:
        return _print_failure(failure)
    except (BrokenPipeError, KeyboardInterrupt):
        raise
    except Exception as error:  # the outermost frame: users get a message, not a traceback
        if os.environ.get("ARKS_DEBUG"):
            raise
        return _print_failure(_failure(error))


def _parse_and_run(arguments: list[str]) -> int:
    import typer
    from typer._click.exceptions import NoArgsIsHelpError, UsageError

    from arks.local.cli.commands import app_for
    from arks.local.cli.wrong_usage import failure_of

    try:
        returned = app_for(arguments)(arguments, standalone_mode=False)
    except typer.Abort:
        raise KeyboardInterrupt from None
    except NoArgsIsHelpError as error:
        print(error.format_message())
        return Exit.USAGE
    except UsageError as error:
        path = error.ctx.command_path if error.ctx else "arks"
        raise failure_of(error.format_message(), path, arguments) from error
    return returned if isinstance(returned, int) else Exit.OK


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
    context, rest = _context_first([argument for argument in spelled if argument])
    return [*context, *rest]


def _context_first(arguments: list[str]) -> tuple[list[str], list[str]]:
    """`--context NAME`, which kubectl accepts anywhere, apart from the other arguments."""
    context: list[str] = []
    rest: list[str] = []
    for position, argument in enumerate(arguments):
        if argument == "--":
            return context, rest + arguments[position:]
        if (
            argument.startswith("--context=")
            or argument == "--context"
            or arguments[position - 1 : position] == ["--context"]
        ):
            context.append(argument)
        else:
            rest.append(argument)
    return context, rest


def _failure(error: BaseException) -> Failure:
    """The message for an error, with the next step and the exit code."""
    from arks.kit.errors import ArksError

    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, Failure):
        return error
    if isinstance(error, (ArksError, OSError)):
        from arks.kit.errors import reason_of

        return Failure(reason_of(error), "see `arks status`")
    trace = "run it again with ARKS_DEBUG=1 to see the traceback"
    return Failure(f"internal error: {type(error).__name__}: {error}", trace)


def _print_failure(failure: Failure) -> Exit:
    print(f"arks: {copyable(str(failure))}", file=sys.stderr)
    if failure.next_step:
        print(f"      {copyable(failure.next_step)}", file=sys.stderr)
    return failure.code


if __name__ == "__main__":
    main()
