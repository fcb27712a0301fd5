"""`arks get`: list resources."""

from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import typer

from arks.local.cli.failure import Exit, fail
from arks.local.cli.home import Home
from arks.local.cli.options import (
    NO_HOME,
    NO_NAMESPACE,
    AllNamespacesOption,
    HomeOption,
    NamespaceOption,
    SelectorOption,
    TargetsArgument,
)
from arks.local.cli.output import print_text, terminal_width
from arks.local.cli.reading import read
from arks.local.cli.targets import Target, labels_match, resource_type, select, targets
from arks.local.render.kinds import Kind
from arks.local.render.resources import GrowingTable, Listing
from arks.local.render.table import UNLIMITED


class GetOutput(StrEnum):
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


_OUTPUT_HELP = "Output format; wide shows more columns."
_SORT_HELP = "Sort by a column (age, left) or a path (.spec.model)."


def get(
    resources: TargetsArgument,
    namespace: NamespaceOption = NO_NAMESPACE,
    all_namespaces: AllNamespacesOption = False,
    selector: SelectorOption = None,
    sort_by: Annotated[str | None, typer.Option("--sort-by", help=_SORT_HELP)] = None,
    output: Annotated[GetOutput | None, typer.Option("--output", "-o", help=_OUTPUT_HELP)] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Watch for changes.")] = False,
    no_headers: Annotated[bool, typer.Option("--no-headers", help="Do not print the header row.")] = False,
    home: HomeOption = NO_HOME,
) -> None:
    """List resources, or show those with the names.

    \b
    arks get models
    arks get all -A
    arks get application smollm2 -o yaml
    arks get model/smollm2 endpoint/smollm2
    arks get tokens -l team=red --sort-by expires
    """
    chosen = targets(resources)
    where = None if all_namespaces else namespace
    if watch:
        if len(chosen) != 1 or output in {GetOutput.JSON, GetOutput.YAML}:
            fail("--watch shows one kind, as a table or names", "as in `arks get models -w`", Exit.USAGE)
        import asyncio

        kind = chosen[0].kind
        shown = GrowingTable(kind, wide=output == GetOutput.WIDE, namespaces=all_namespaces, headers=not no_headers)
        shown.fit(_chosen(chosen[0], read(home, [kind])[kind], where, selector), datetime.now(UTC))
        asyncio.run(_watch(home, chosen[0], where, selector, None if output == GetOutput.NAME else shown))
        return
    found = read(home, list(dict.fromkeys(target.kind for target in chosen)))
    listings = [Listing(target.kind, _chosen(target, found[target.kind], where, selector)) for target in chosen]
    if sort_by is not None:
        listings = _sorted(listings, sort_by)
    single = len(chosen) == 1 and len(chosen[0].names) == 1
    _print(_merged(listings), output, single=single, namespaces=all_namespaces, headers=not no_headers)
    if not any(listing.objects for listing in listings):
        _print_nothing_found(found, where)


def _sorted(listings: Sequence[Listing], sort_by: str) -> list[Listing]:
    """Raises Failure for a column that does not exist."""
    from arks.local.render.sorting import UnknownColumn, sorted_listing

    try:
        return [sorted_listing(listing, sort_by, datetime.now(UTC)) for listing in listings]
    except UnknownColumn as error:
        fail(str(error), "or a path, as in --sort-by .spec.model", Exit.USAGE)


def _chosen(
    target: Target, existing: list[dict[str, Any]], namespace: str | None, selector: str | None
) -> list[dict[str, Any]]:
    found = select(target.kind, existing, target.names, namespace)
    return list(filter(labels_match(selector).holds, found)) if selector else found


def _merged(listings: Sequence[Listing]) -> list[Listing]:
    """One listing per kind, in the order in which they were named."""
    objects: dict[Kind, list[Any]] = {}
    for listing in listings:
        objects.setdefault(listing.kind, []).extend(listing.objects)
    return [Listing(kind, found) for kind, found in objects.items()]


def _print_nothing_found(found: dict[Kind, list[dict[str, Any]]], namespace: str | None) -> None:
    others = sorted({item["metadata"]["namespace"] for items in found.values() for item in items} - {namespace})
    where = "" if namespace is None else f" in namespace {namespace}"
    more = f"; there are some in {', '.join(others[:3])} (-A shows all)" if others else ""
    typer.echo(f"No resources found{where}{more}.", err=True)


def _print(
    listings: Sequence[Listing], output: GetOutput | None, *, single: bool, namespaces: bool, headers: bool
) -> None:
    from arks.local.render import plain, resources

    objects = [resource for listing in listings for resource in listing.objects]
    match output:
        case GetOutput.JSON:
            print_text(plain.to_json(plain.as_list(objects, single=single)))
        case GetOutput.YAML:
            from arks.local.render.yaml_text import to_yaml

            print_text(to_yaml(plain.as_list(objects, single=single)))
        case _ if not objects:
            pass
        case GetOutput.NAME:
            print_text(resources.names(listings))
        case _:
            wide = output == GetOutput.WIDE
            shown = resources.tables(
                listings,
                datetime.now(UTC),
                wide=wide,
                namespaces=namespaces,
                headers=headers,
                width=UNLIMITED if wide else terminal_width(),
            )
            print_text(shown)


async def _watch(
    home: Home, target: Target, namespace: str | None, selector: str | None, table: GrowingTable | None
) -> None:
    """Print each change: the row of the table, or the name without one."""
    from arks.local.cli.connection import connected
    from arks.local.render.resources import qualified

    kind, labels = target.kind, labels_match(selector) if selector else None
    async with connected(home) as store:
        async for key, resource in store.changes(resource_type(kind)):
            if (target.names and key.name not in target.names) or namespace not in {None, key.namespace}:
                continue
            if resource is not None and labels is not None and not labels.holds(resource):
                continue
            if table is None or resource is None:
                print_text(qualified(kind, key.name) + ("" if resource else " deleted"))
            else:
                print_text(table.row(resource, datetime.now(UTC)))
