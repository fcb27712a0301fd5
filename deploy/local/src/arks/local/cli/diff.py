"""`arks diff`: what `arks apply` would change."""

import asyncio
import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from arks.local.cli.connection import on_this_machine
from arks.local.cli.failure import Exit
from arks.local.cli.manifest_files import read_resources
from arks.local.cli.options import NO_HOME, NO_NAMESPACE, FilesOption, LocalHomeOption, NamespaceOption
from arks.local.cli.output import print_text
from arks.local.cli.runtime_default import with_fitting_runtime

if TYPE_CHECKING:
    from arks.contracts.resources import Resource


def diff(files: FilesOption = None, namespace: NamespaceOption = NO_NAMESPACE, home: LocalHomeOption = NO_HOME) -> None:
    """Show what apply would change. The exit code is 1 if there are differences, like kubectl's.

    \b
    arks diff -f models.yaml
    """
    texts = asyncio.run(_diffs(home, with_fitting_runtime(read_resources(files or [], namespace))))
    if any(texts):
        print_text("".join(texts))
        raise typer.Exit(Exit.FAILED)
    typer.echo("No differences.", err=True)


async def _diffs(home: Path, resources: "Sequence[Resource]") -> list[str]:
    from arks.kit.key import Key

    async with on_this_machine(home) as store:
        return [
            unified(
                f"{resource.singular}/{resource.name}",
                await store.read(type(resource), Key(resource.namespace, resource.name)),
                store.as_stored(resource),
            )
            for resource in resources
        ]


def unified(title: str, existing: Mapping[str, Any] | None, desired: Mapping[str, Any]) -> str:
    """A unified diff of the parts that users write; empty without differences."""
    lines = difflib.unified_diff(
        _lines(existing) if existing is not None else [], _lines(desired), f"{title} (now)", f"{title} (applied)"
    )
    return "".join(lines)


def _lines(resource: Mapping[str, Any]) -> list[str]:
    from arks.local.render.yaml_text import to_yaml

    metadata = {
        name: value for name, value in resource["metadata"].items() if name in {"labels", "annotations"} and value
    }
    shown = {"metadata": metadata} if metadata else {}
    shown |= {name: resource[name] for name in resource if name not in {"apiVersion", "kind", "metadata", "status"}}
    return to_yaml(shown).splitlines(keepends=True)
