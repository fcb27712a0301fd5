"""Resources that a command made and that are invalid."""

from typing import TYPE_CHECKING, NoReturn

from arks.local.cli.failure import Exit, fail

if TYPE_CHECKING:
    from pydantic import ValidationError

    from arks.contracts.resources import Resource


def fail_invalid(error: "ValidationError", resource: "type[Resource]", next_step: str) -> NoReturn:
    """End the command with the first finding. Raises Failure."""
    from arks.contracts.manifests.messages import field_path, sentence

    first = error.errors(include_url=False)[0]
    fail(f"{field_path(first['loc'])}: {sentence(first, resource)}", next_step, Exit.USAGE)
