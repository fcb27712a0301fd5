"""`arks apply`: create or update resources."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from arks.local.cli.connection import on_this_machine
from arks.local.cli.manifest_files import read_resources
from arks.local.cli.options import NO_HOME, NO_NAMESPACE, FilesOption, LocalHomeOption, NamespaceOption
from arks.local.cli.output import print_text
from arks.local.cli.runtime_default import with_fitting_runtime
from arks.local.cli.waiting import Awaited, kinds_to_wait_for, wait_ready
from arks.local.render.kinds import APPLICATION, ARKS_KINDS, MODEL

if TYPE_CHECKING:
    from arks.contracts.resources import Resource

_FIT_SECONDS = 2.0
_POLL_SECONDS = 0.1


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
    _warn_without_effect(resources)
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
    _warn_of_fit(home, resources)


async def _apply(home: Path, resources: "Sequence[Resource]") -> None:
    async with on_this_machine(home) as store:
        for resource in resources:
            print_text(f"{_title(resource)} {await store.apply(resource)}")


def _warn_without_effect(resources: "Sequence[Resource]") -> None:
    """Warn of fields that only Kubernetes carries out."""
    from arks.contracts.manifests.one_machine import sentence_of, without_effect

    for resource in resources:
        if text := sentence_of(without_effect(resource)):
            typer.echo(f"warning: {resource.kind} {resource.name}: {text}", err=True)


def _warn_of_missing(home: Path, resources: "Sequence[Resource]") -> None:
    """Warn of names that resources refer to and that do not exist now."""
    from arks.local.cli.reading import read
    from arks.local.render.references import missing_references

    applied = {(resource.kind, resource.namespace, resource.name) for resource in resources}
    for text in missing_references(read(home, ARKS_KINDS), applied):
        typer.echo(f"warning: {text}", err=True)


def _warn_of_fit(home: Path, resources: "Sequence[Resource]") -> None:
    """Warn of applications whose model does not fit. app-deployer has a moment for it if the model is there."""
    from arks.local.cli.reading import read
    from arks.local.render.fit import fit_warnings, may_be_judged
    from arks.local.render.health import is_current

    applied = [(item.namespace, item.name) for item in resources if item.kind == APPLICATION.name]
    deadline = time.monotonic() + _FIT_SECONDS
    while applied:
        found = read(home, [APPLICATION, MODEL])
        applications = [item for item in found[APPLICATION] if _key(item) in applied]
        late = not may_be_judged(applications, found[MODEL], applied) or time.monotonic() > deadline
        if late or all(is_current(item) for item in applications):
            for text in fit_warnings(applications, applied):
                typer.echo(f"warning: {text}", err=True)
            return
        time.sleep(_POLL_SECONDS)


def _key(resource: "dict[str, Any]") -> tuple[str, str]:
    return resource["metadata"]["namespace"], resource["metadata"]["name"]


def _title(resource: "Resource") -> str:
    return f"{resource.singular}/{resource.name}"
