"""`arks get`: list resources."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from arks.local.cli.connection import connected
from arks.local.cli.failure import Exit, fail
from arks.local.cli.options import NO_HOME, AllNamespacesOption, HomeOption, NamespaceOption
from arks.local.cli.output import print_text
from arks.local.cli.targets import kinds_and_names, select

if TYPE_CHECKING:
    from arks.contracts.resources import Resource
    from arks.local.render.resources import Listing


class GetOutput(StrEnum):
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


_KINDS_HELP = "Kinds, as in models,applications; or KIND/NAME; or all."
_OUTPUT_HELP = "Output format; wide shows more columns."


def get(
    kinds: Annotated[str, typer.Argument(metavar="KIND[,KIND]", help=_KINDS_HELP)],
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Only these.")] = None,
    namespace: NamespaceOption = "default",
    all_namespaces: AllNamespacesOption = False,
    output: Annotated[GetOutput | None, typer.Option("--output", "-o", help=_OUTPUT_HELP)] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Watch for changes.")] = False,
    no_headers: Annotated[bool, typer.Option("--no-headers", help="Do not print the header row.")] = False,
    home: HomeOption = NO_HOME,
) -> None:
    """List resources.

    \b
    arks get models
    arks get models,applications,endpoints -A
    arks get application smollm2 -o yaml
    arks get am -w
    """
    chosen, only = kinds_and_names(kinds, names or [])
    namespace_or_all = None if all_namespaces else namespace
    if watch:
        if len(chosen) != 1 or output in {GetOutput.JSON, GetOutput.YAML}:
            fail("--watch shows one kind, as a table or names", "as in `arks get models -w`", Exit.USAGE)
        asyncio.run(_watch(home, chosen[0], only, namespace_or_all, output))
        return
    listings = asyncio.run(_listings(home, chosen, only, namespace_or_all))
    _print(listings, output, single=len(only) == 1, namespaces=all_namespaces, headers=not no_headers)


async def _listings(
    home: Path, kinds: "Sequence[type[Resource]]", names: Sequence[str], namespace: str | None
) -> "list[Listing]":
    from arks.local.render.resources import Listing

    async with connected(home) as store:
        return [Listing(kind, select(kind, await store.list(kind), names, namespace)) for kind in kinds]


def _print(
    listings: "Sequence[Listing]", output: GetOutput | None, *, single: bool, namespaces: bool, headers: bool
) -> None:
    from arks.local.render import resources as render

    objects = [resource for listing in listings for resource in listing.objects]
    match output:
        case GetOutput.JSON:
            print_text(render.to_json(render.as_list(objects, single=single)))
        case GetOutput.YAML:
            print_text(render.to_yaml(render.as_list(objects, single=single)))
        case _ if not objects:
            typer.echo("No resources found.", err=True)
        case GetOutput.NAME:
            print_text(render.names(listings))
        case _:
            wide = output == GetOutput.WIDE
            print_text(render.tables(listings, datetime.now(UTC), wide=wide, namespaces=namespaces, headers=headers))


async def _watch(
    home: Path, kind: "type[Resource]", names: Sequence[str], namespace: str | None, output: GetOutput | None
) -> None:
    """Print each change. Column widths are those of each moment: a longer name later moves its own line only."""
    from arks.local.render.resources import Listing, qualified, tables

    headers, wide = True, output == GetOutput.WIDE
    async with connected(home) as store:
        async for key, resource in store.changes(kind):
            if (names and key.name not in names) or namespace not in {None, key.namespace}:
                continue
            if output == GetOutput.NAME or resource is None:
                print_text(qualified(kind, key.name) + ("" if resource else " deleted"))
                continue
            listing, now = Listing(kind, [resource]), datetime.now(UTC)
            print_text(tables([listing], now, wide=wide, namespaces=namespace is None, headers=headers))
            headers = False
