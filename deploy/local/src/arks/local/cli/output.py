"""Print the output of commands."""

import shutil
import sys

import typer

from arks.local.cli.options import Output
from arks.local.render.table import UNLIMITED


def print_text(text: str) -> None:
    """Print text, with a newline at its end. Raises BrokenPipeError if the reader has closed (`| head`)."""
    typer.echo(text, nl=not text.endswith("\n"))


def terminal_width() -> int:
    """The columns of the terminal; where the output is not on one, so many that nothing is cut."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else UNLIMITED


def print_data(data: object, output: Output) -> None:
    """Print data as JSON or YAML."""
    if output == Output.JSON:
        from arks.local.render.plain import to_json

        print_text(to_json(data))
    else:
        from arks.local.render.yaml_text import to_yaml

        print_text(to_yaml(data))
