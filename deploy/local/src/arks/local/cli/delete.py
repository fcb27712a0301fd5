"""`arks delete`: delete resources."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from arks.local.cli.connection import connected
from arks.local.cli.failure import Exit, fail
from arks.local.cli.manifest_files import read_resources
from arks.local.cli.options import NO_HOME, FilesOption, HomeOption, NamespaceOption
from arks.local.cli.output import print_text
from arks.local.cli.targets import kind_named

if TYPE_CHECKING:
    from arks.contracts.resources import Resource
    from arks.kit.key import Key
    from arks.local.client.store import Store

_POLL_SECONDS = 0.1
_IGNORE_HELP = "Do not fail if a resource does not exist."


def delete(
    kind: Annotated[str | None, typer.Argument(metavar="[KIND]", help="Kind, as in model; or KIND/NAME.")] = None,
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Names.")] = None,
    files: FilesOption = None,
    namespace: NamespaceOption = "default",
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until the resources are deleted.")] = True,
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds to wait.")] = 60.0,
    ignore_missing: Annotated[bool, typer.Option("--ignore-not-found", help=_IGNORE_HELP)] = False,
    home: HomeOption = NO_HOME,
) -> None:
    """Delete resources and wait until they are deleted.

    \b
    arks delete application smollm2
    arks delete -f models.yaml
    arks delete model smollm2 --no-wait
    """
    targets = _targets(kind, names or [], files, namespace)
    missing = asyncio.run(_delete(home, targets, timeout if wait else None))
    if missing and not ignore_missing:
        fail("; ".join(f"there is no {kind.__name__} {key}" for kind, key in missing))


def _targets(
    kind: str | None, names: Sequence[str], files: list[str] | None, namespace: str
) -> "list[tuple[type[Resource], Key]]":
    from arks.kit.key import Key

    if files:
        if kind:
            fail("give either names or -f, not both", code=Exit.USAGE)
        resources = read_resources(files, namespace)
        return [(type(resource), Key(resource.namespace, resource.name)) for resource in reversed(resources)]
    if kind and "/" in kind and not names:
        kind, _, name = kind.partition("/")
        names = [name]
    if not kind or not names:
        fail("no resource given", "as in `arks delete model smollm2` or `arks delete -f models.yaml`", Exit.USAGE)
    return [(kind_named(kind), Key(namespace, name)) for name in names]


async def _delete(
    home: Path, targets: "Sequence[tuple[type[Resource], Key]]", wait_seconds: float | None
) -> "list[tuple[type[Resource], Key]]":
    """Returns the targets that did not exist."""
    missing: list[tuple[type[Resource], Key]] = []
    deleted: list[tuple[type[Resource], Key]] = []
    async with connected(home) as store:
        for kind, key in targets:
            (deleted if await store.delete(kind, key) else missing).append((kind, key))
        for kind, key in deleted:
            if wait_seconds is not None:
                await _wait_deleted(store, kind, key, wait_seconds)
            print_text(f"{kind.singular}/{key.name} deleted")
    return missing


async def _wait_deleted(store: "Store", kind: "type[Resource]", key: "Key", seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            while True:
                if await store.read(kind, key) is None:
                    return
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError:
        fail(
            f"{kind.singular}/{key.name} still exists after {seconds:g} s",
            f"`arks describe {kind.singular} {key.name} -n {key.namespace}` shows what it waits for",
            Exit.TIMED_OUT,
        )
