"""`arks get` and `arks describe`: what there is."""

from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from arks.local.cli.common import (
    NO_HOME,
    AllNamespacesOption,
    Exit,
    Failure,
    HomeOption,
    NamespaceOption,
    connected,
    fail,
    kind_named,
    paths_of,
    run,
    say,
)

if TYPE_CHECKING:
    from arks.contracts.resources import Resource
    from arks.local.client.store import Store
    from arks.local.render.describe import LogTail
    from arks.local.render.events import Event
    from arks.local.render.resources import Listing

_EVENTS_SHOWN = 15
_LINES_SHOWN = 15


class GetOutput(StrEnum):
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


_KINDS_HELP = "Kinds, as in models,applications; or KIND/NAME; or all."


def get(
    kinds: Annotated[str, typer.Argument(metavar="KIND[,KIND]", help=_KINDS_HELP)],
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Only these.")] = None,
    namespace: NamespaceOption = "default",
    all_namespaces: AllNamespacesOption = False,
    output: Annotated[GetOutput | None, typer.Option("--output", "-o", help="More columns, or for programs.")] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on and print each change.")] = False,
    no_headers: Annotated[bool, typer.Option("--no-headers", help="Without the line of column names.")] = False,
    home: HomeOption = NO_HOME,
) -> None:
    """List resources.

    \b
    arks get models
    arks get models,applications,endpoints -A
    arks get application smollm2 -o yaml
    arks get am -w
    """
    wanted, only = _wanted(kinds, names or [])
    place = None if all_namespaces else namespace
    if watch:
        if len(wanted) != 1 or output in {GetOutput.JSON, GetOutput.YAML}:
            fail("--watch shows one kind, as a table or names", "as in `arks get models -w`", Exit.USAGE)
        run(_watch(home, wanted[0], only, place, output))
        return
    listings = run(_listings(home, wanted, only, place))
    _print(listings, output, single=len(only) == 1, namespaces=all_namespaces, headers=not no_headers)


def _wanted(kinds: str, names: Sequence[str]) -> "tuple[list[type[Resource]], list[str]]":
    from arks.contracts.resources import CUSTOM_KINDS

    if "/" in kinds:
        kind, _, name = kinds.partition("/")
        if names or "," in kinds:
            fail(f"{kinds!r} names one thing: give nothing after it", "as in `arks get model/smollm2`", Exit.USAGE)
        return [kind_named(kind)], [name]
    wanted = list(CUSTOM_KINDS) if kinds == "all" else [kind_named(kind) for kind in kinds.split(",") if kind]
    if names and len(wanted) != 1:
        fail("names go with one kind", "as in `arks get models smollm2`", Exit.USAGE)
    return wanted, list(names)


async def _listings(
    home: Path, kinds: "Sequence[type[Resource]]", names: Sequence[str], namespace: str | None
) -> "list[Listing]":
    from arks.local.render.resources import Listing

    async with connected(home) as store:
        listings = []
        for kind in kinds:
            objects = [one for one in await store.list(kind) if namespace in {None, one["metadata"]["namespace"]}]
            listings.append(Listing(kind, _only(kind, objects, names, namespace)))
    return listings


def _only(
    kind: "type[Resource]", objects: list[dict[str, Any]], names: Sequence[str], namespace: str | None
) -> list[dict[str, Any]]:
    """Those with the names, in the order of the names. Raises Failure when one is missing."""
    if not names:
        return objects
    found = []
    for name in names:
        matching = [one for one in objects if one["metadata"]["name"] == name]
        if not matching:
            raise not_found(kind, name, namespace)
        found += matching
    return found


def not_found(kind: "type[Resource]", name: str, namespace: str | None) -> Failure:
    where = "in any namespace" if namespace is None else f"in namespace {namespace}"
    return Failure(f"there is no {kind.__name__} {name!r} {where}", f"see `arks get {kind.plural} -A`")


def _print(
    listings: "Sequence[Listing]", output: GetOutput | None, *, single: bool, namespaces: bool, headers: bool
) -> None:
    from arks.local.render import resources as render

    objects = [one for listing in listings for one in listing.objects]
    match output:
        case GetOutput.JSON:
            say(render.to_json(render.as_list(objects, single=single)))
        case GetOutput.YAML:
            say(render.to_yaml(render.as_list(objects, single=single)))
        case _ if not objects:
            typer.echo("No resources found.", err=True)
        case GetOutput.NAME:
            say(render.names(listings))
        case _:
            wide = output == GetOutput.WIDE
            say(render.tables(listings, datetime.now(UTC), wide=wide, namespaces=namespaces, headers=headers))


async def _watch(
    home: Path, kind: "type[Resource]", names: Sequence[str], namespace: str | None, output: GetOutput | None
) -> None:
    """The column widths are those of each moment: a longer name later moves its own line only."""
    from arks.local.render.resources import Listing, qualified, tables

    headers = True
    async with connected(home) as store:
        async for key, one in store.changes(kind):
            if (names and key.name not in names) or namespace not in {None, key.namespace}:
                continue
            if output == GetOutput.NAME or one is None:
                say(qualified(kind, key.name) + ("" if one else " deleted"))
                continue
            say(
                tables(
                    [Listing(kind, [one])],
                    datetime.now(UTC),
                    wide=output == GetOutput.WIDE,
                    namespaces=namespace is None,
                    headers=headers,
                )
            )
            headers = False


def describe(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="Kind, as in application; or KIND/NAME.")],
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Its name; all of the kind without it.")] = None,
    namespace: NamespaceOption = "default",
    home: HomeOption = NO_HOME,
) -> None:
    """Say everything about a resource: what is wanted, what is, why, and what happened.

    \b
    arks describe application smollm2
    arks describe model/smollm2
    """
    wanted, names = _wanted(kind, [name] if name else [])
    run(_describe(home, wanted[0], names, namespace))


async def _describe(home: Path, kind: "type[Resource]", names: Sequence[str], namespace: str) -> None:
    from arks.local.render.describe import describe as render

    async with connected(home) as store:
        objects = [one for one in await store.list(kind) if one["metadata"]["namespace"] == namespace]
        texts = []
        for one in _only(kind, objects, names, namespace):
            events = await _events(store, kind, one)
            texts.append(render(one, events, _tails(home, one), datetime.now(UTC)))
    if not texts:
        typer.echo(f"No resources found in namespace {namespace}.", err=True)
    say("\n\n".join(texts))


async def _events(store: "Store", kind: "type[Resource]", one: dict[str, Any]) -> "Sequence[Event]":
    from arks.local.client.event_log import about

    subject = about(one["metadata"]["namespace"], one["metadata"]["name"])
    found = [
        event async for event in store.events(subject, None) if event.data.get("kind", kind.__name__) == kind.__name__
    ]
    return found[-_EVENTS_SHOWN:]


def _tails(home: Path, one: dict[str, Any]) -> "Sequence[LogTail]":
    """The ends of the logs of replicas that are not ready."""
    from arks.local.files.engine_logs import engine_logs
    from arks.local.files.logs import last_lines
    from arks.local.render.describe import LogTail

    metadata = one["metadata"]
    troubled = {
        instance["name"] for instance in (one.get("status") or {}).get("instances", []) if instance["state"] != "Ready"
    }
    logs = engine_logs(paths_of(home), metadata["namespace"], metadata["name"]) if troubled else {}
    return [
        LogTail(f"Last lines of {replica}", last_lines(log, _LINES_SHOWN))
        for replica, log in logs.items()
        if replica in troubled
    ]


def add_to(app: typer.Typer) -> None:
    app.command()(get)
    app.command()(describe)
