"""`arks fields`: document the fields of a kind."""

from typing import Annotated

import typer

from arks.local.cli.failure import Exit, fail
from arks.local.cli.output import print_text
from arks.local.cli.targets import kind_named, resource_type
from arks.local.render.spelling import closest


def fields(
    path: Annotated[str, typer.Argument(metavar="KIND[.FIELD]...", help="As in model.spec.source.")],
) -> None:
    """Document the fields of a kind, like `kubectl explain`.

    \b
    arks fields model
    arks fields application.spec.instanceSpec
    """
    from arks.local.render.fields import UnknownField, as_text

    name, _, below = path.partition(".")
    kind = kind_named(name)
    try:
        print_text(as_text(resource_type(kind).model_json_schema(by_alias=True), kind.name, below))
    except UnknownField as error:
        guess = closest(error.field, error.known)
        hint = f"did you mean {guess}?" if guess else f"fields: {', '.join(error.known)}"
        fail(f"{kind.name} has no field {below!r}", hint, Exit.USAGE)
