"""`arks apply`: create or update resources."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from arks.local.cli.connection import connected
from arks.local.cli.manifest_files import read_resources
from arks.local.cli.options import NO_HOME, FilesOption, HomeOption, NamespaceOption
from arks.local.cli.output import print_text

if TYPE_CHECKING:
    from arks.contracts.resources import Resource


def apply(
    files: FilesOption = None,
    namespace: NamespaceOption = "default",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only validate the manifests.")] = False,
    home: HomeOption = NO_HOME,
) -> None:
    """Create or update resources from manifests. All are validated first; on any error nothing changes.

    \b
    arks apply -f models.yaml
    arks apply -f manifests/ -n team-a
    cat models.yaml | arks apply -f -
    """
    resources = read_resources(files or [], namespace)
    if dry_run:
        print_text("".join(f"{_title(resource)} is valid\n" for resource in resources))
        return
    asyncio.run(_apply(home, resources))


async def _apply(home: Path, resources: "Sequence[Resource]") -> None:
    async with connected(home) as store:
        for resource in resources:
            print_text(f"{_title(resource)} {await store.apply(resource)}")


def _title(resource: "Resource") -> str:
    return f"{resource.singular}/{resource.name}"
