"""Values of options that need no check by pydantic."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from arks.local.cli import values
from arks.local.cli.values import UNSURE, plain_value


class Shape(StrEnum):
    ROUND = "round"


@pytest.mark.parametrize(
    ("value", "annotation", "expected"),
    [
        ("x", str, "x"),
        (True, bool, True),
        ("5", int, 5),
        ("5", float, 5.0),
        (0.5, float, 0.5),
        ("/a", Path, Path("/a")),
        ("round", Shape, Shape.ROUND),
        (("a", "b"), list[str], ["a", "b"]),
        (("round",), list[Shape], [Shape.ROUND]),
        ("five", int, UNSURE),
        ("-5", int, UNSURE),
        ("5", bool, UNSURE),
        ("flat", Shape, UNSURE),
        (("round", "flat"), list[Shape], UNSURE),
        ("a", tuple[str, int], UNSURE),
    ],
)
def test_plain_values_are_passed_on_and_all_others_are_checked(value: Any, annotation: Any, expected: Any) -> None:
    found = plain_value(value, annotation)
    assert (expected, type(expected)) == (found, type(found))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--port", "80"], "80 x"),
        (["--port", "0"], "greater than or equal to 1"),
        (["--port", "x"], "valid integer"),
        (["--file", "/"], "is a directory"),
    ],
)
def test_rules_of_options_still_hold(arguments: list[str], expected: str) -> None:
    values.install()
    app = typer.Typer(rich_markup_mode=None)

    @app.command()
    def show(
        port: Annotated[int, typer.Option(min=1)] = 1,
        file: Annotated[Path, typer.Option(dir_okay=False)] = Path("x"),
    ) -> None:
        typer.echo(f"{port} {file}")

    assert expected in CliRunner().invoke(app, arguments).output
