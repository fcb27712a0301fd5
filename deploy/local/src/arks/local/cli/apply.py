"""`arks apply`: create or update resources."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from arks.local.cli.connection import on_this_machine
from arks.local.cli.manifest_files import read_resources
from arks.local.cli.options import NO_HOME, NO_NAMESPACE, FilesOption, LocalHomeOption, NamespaceOption
from arks.local.cli.output import print_text
from arks.local.cli.runtime_default import with_fitting_runtime
from arks.local.cli.waiting import Awaited, kinds_to_wait_for, wait_ready
from arks.local.render.kinds import ARKS_KINDS

if TYPE_CHECKING:
    from arks.contracts.resources import Resource


def apply(
    files: FilesOption = None,
    namespace: NamespaceOption = NO_NAMESPACE,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only validate the manifests.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until all are ready.")] = False,
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds to wait.")] = 1800.0,
    home: LocalHomeOption = NO_HOME,
) -> None:
    """Create or update resources from manifests. All are validated first; on any error nothing changes.

    \b
    arks apply -f models.yaml --wait
    arks apply -f manifests/ -n team-a
    cat models.yaml | arks apply -f -
    """
    resources = with_fitting_runtime(read_resources(files or [], namespace))
    if dry_run:
        print_text("".join(f"{_title(resource)} is valid\n" for resource in resources))
        return
    asyncio.run(_apply(home, resources))
    _warn_of_missing(home, resources)
    if wait:
        kinds = kinds_to_wait_for([resource.kind for resource in resources])
        awaited = [
            Awaited(kind, resource.namespace, resource.name)
            for kind in kinds
            for resource in resources
            if resource.kind == kind.name
        ]
        wait_ready(home, awaited, timeout)


async def _apply(home: Path, resources: "Sequence[Resource]") -> None:
    async with on_this_machine(home) as store:
        for resource in resources:
            print_text(f"{_title(resource)} {await store.apply(resource)}")


def _warn_of_missing(home: Path, resources: "Sequence[Resource]") -> None:
    """Warn of names that resources refer to and that do not exist now."""
    from arks.local.cli.reading import read
    from arks.local.render.references import missing_references

    applied = {(resource.kind, resource.namespace, resource.name) for resource in resources}
    for text in missing_references(read(home, ARKS_KINDS), applied):
        typer.echo(f"warning: {text}", err=True)


def _title(resource: "Resource") -> str:
    return f"{resource.singular}/{resource.name}"
