"""`arks delete`: delete resources."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from arks.local.cli.connection import on_this_machine
from arks.local.cli.failure import Exit, fail
from arks.local.cli.options import NO_HOME, NO_NAMESPACE, FilesOption, LocalHomeOption, NamespaceOption, SelectorOption
from arks.local.cli.output import print_text
from arks.local.cli.targets import labels_match, not_found, resource_type, targets
from arks.local.cli.waiting import Awaited, wait_deleted
from arks.local.render.kinds import ARKS_KINDS, find_kind

_IGNORE_HELP = "Do not fail if a resource does not exist."
_TARGETS_HELP = "KIND NAME... or KIND/NAME..."


def delete(
    resources: Annotated[list[str] | None, typer.Argument(metavar="[KIND] [NAME]...", help=_TARGETS_HELP)] = None,
    files: FilesOption = None,
    selector: SelectorOption = None,
    all_of_kind: Annotated[bool, typer.Option("--all", help="All of the kind in the namespace.")] = False,
    namespace: NamespaceOption = NO_NAMESPACE,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until the resources are deleted.")] = True,
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds to wait.")] = 60.0,
    ignore_missing: Annotated[bool, typer.Option("--ignore-not-found", help=_IGNORE_HELP)] = False,
    home: LocalHomeOption = NO_HOME,
) -> None:
    """Delete resources and wait until they are deleted.

    \b
    arks delete application smollm2
    arks delete -f models.yaml
    arks delete tokens --all -n team-a
    arks delete model smollm2 --no-wait
    """
    arguments = resources or []
    if files and arguments:
        fail("give either names or -f, not both", "as in `arks delete -f models.yaml`", Exit.USAGE)
    if selector or all_of_kind:
        chosen = _selected(home, arguments, namespace, selector)
    else:
        chosen = _from_files(files, namespace) if files else _named(arguments, namespace)
    missing = asyncio.run(_delete(home, chosen))
    existing = [item for item in chosen if item not in missing]
    if wait and existing:
        wait_deleted(home, existing, timeout)
    if existing:
        print_text("".join(f"{item.kind.singular}/{item.name} deleted\n" for item in existing))
        _warn_of_references(home, existing)
    if missing and not ignore_missing:
        raise not_found(missing[0].kind, missing[0].name, missing[0].namespace)


def _named(arguments: Sequence[str], namespace: str) -> list[Awaited]:
    if not arguments:
        fail("no resource given", "as in `arks delete model smollm2` or `arks delete -f models.yaml`", Exit.USAGE)
    return [Awaited(target.kind, namespace, name) for target in targets(arguments, named=True) for name in target.names]


def _selected(home: Path, arguments: Sequence[str], namespace: str, selector: str | None) -> list[Awaited]:
    from arks.local.cli.reading import read

    kinds = [target.kind for target in targets(arguments) if not target.names]
    if not kinds:
        fail("--all and -l take kinds without names", "as in `arks delete tokens --all`", Exit.USAGE)
    found = read(home, kinds)
    holds = labels_match(selector).holds if selector else None
    chosen = [(kind, item) for kind in kinds for item in found[kind] if item["metadata"]["namespace"] == namespace]
    return [Awaited(kind, namespace, item["metadata"]["name"]) for kind, item in chosen if holds is None or holds(item)]


def _from_files(files: Sequence[str], namespace: str) -> list[Awaited]:
    """What others name comes last, so that it is still there while they end."""
    from arks.local.cli.manifest_files import read_resources

    return [
        Awaited(kind, resource.namespace, resource.name)
        for resource in reversed(read_resources(files, namespace))
        if (kind := find_kind(resource.kind)) is not None
    ]


def _warn_of_references(home: Path, deleted: Sequence[Awaited]) -> None:
    """Warn of resources that still name what was deleted."""
    from arks.local.cli.reading import read
    from arks.local.render.references import references_to_deleted

    gone = {(item.kind.name, item.namespace, item.name) for item in deleted}
    for text in references_to_deleted(read(home, ARKS_KINDS), gone):
        typer.echo(f"warning: {text}", err=True)


async def _delete(home: Path, chosen: Sequence[Awaited]) -> list[Awaited]:
    """Returns those that did not exist."""
    from arks.kit.key import Key

    async with on_this_machine(home) as store:
        return [
            item for item in chosen if not await store.delete(resource_type(item.kind), Key(item.namespace, item.name))
        ]
