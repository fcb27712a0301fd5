"""`arks apply` and `arks delete`: what should be."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from arks.local.cli.common import (
    NO_HOME,
    Exit,
    HomeOption,
    NamespaceOption,
    connected,
    fail,
    kind_named,
    run,
    say,
)

if TYPE_CHECKING:
    from arks.contracts.resources import Resource
    from arks.kit.reconcile import Key
    from arks.local.client.store import Store
    from arks.local.manifests import Manifests

_SUFFIXES = (".yaml", ".yml", ".json")
_MOST_BYTES = 16 * 1024 * 1024
_GONE_SECONDS = 0.1

FilesOption = Annotated[
    list[str] | None,
    typer.Option("--filename", "-f", metavar="FILE|DIR|-", help="Manifests: a file, all in a directory, or stdin."),
]


def apply(
    files: FilesOption = None,
    namespace: NamespaceOption = "default",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only check the manifests.")] = False,
    home: HomeOption = NO_HOME,
) -> None:
    """Make resources what manifests say. All are checked first: one error, and nothing is changed.

    \b
    arks apply -f models.yaml
    arks apply -f manifests/ -n team-a
    cat models.yaml | arks apply -f -
    """
    manifests = checked(read_sources(files or []), namespace)
    if dry_run:
        say("".join(f"{_title(resource)} is valid\n" for resource in manifests.resources))
        return
    run(_apply(home, manifests.resources))


async def _apply(home: Path, resources: "Sequence[Resource]") -> None:
    async with connected(home) as store:
        for resource in in_order(resources):
            say(f"{_title(resource)} {await store.apply(resource)}")


def in_order(resources: "Sequence[Resource]") -> "list[Resource]":
    """What others refer to comes first."""
    from arks.contracts.resources import KINDS

    order = list(KINDS.values())
    order.insert(0, order.pop())  # secrets
    return sorted(resources, key=lambda resource: order.index(type(resource)))


def _title(resource: "Resource") -> str:
    return f"{resource.singular}/{resource.name}"


def read_sources(files: Sequence[str]) -> list[tuple[str, str]]:
    """File names with their text. Raises Failure."""
    if not files:
        fail("nothing to read", "name manifests with -f FILE, -f DIRECTORY, or -f - for standard input", Exit.USAGE)
    return [source for file in files for source in _read(file)]


def _read(file: str) -> list[tuple[str, str]]:
    if file == "-":
        return [("<stdin>", _text("<stdin>", sys.stdin.buffer.read(_MOST_BYTES + 1)))]
    path = Path(file)
    if path.is_dir():
        found = sorted(each for each in path.iterdir() if each.suffix in _SUFFIXES and each.is_file())
        if not found:
            fail(f"{path} holds no manifest", f"manifests end in {', '.join(_SUFFIXES)}", Exit.USAGE)
        return [source for each in found for source in _read(str(each))]
    try:
        with path.open("rb") as opened:
            return [(file, _text(file, opened.read(_MOST_BYTES + 1)))]
    except OSError as error:
        fail(f"{file} cannot be read: {error.strerror or error}", code=Exit.USAGE)


def _text(name: str, raw: bytes) -> str:
    if len(raw) > _MOST_BYTES:
        fail(f"{name} is larger than {_MOST_BYTES // 1024**2} MiB: it is not a manifest", code=Exit.USAGE)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        fail(f"{name}:{line}: is not UTF-8 text", "nothing was changed", Exit.USAGE)


def checked(sources: Sequence[tuple[str, str]], namespace: str) -> "Manifests":
    """Raises Failure with every error there is; warnings go to stderr."""
    from arks.local.manifests import parse_manifests

    manifests = parse_manifests(sources, default_namespace=namespace)
    for warning in manifests.warnings:
        typer.echo(f"warning: {warning}", err=True)
    if manifests.errors:
        listed = "\n".join(str(error) for error in manifests.errors)
        count = "1 error" if len(manifests.errors) == 1 else f"{len(manifests.errors)} errors"
        fail(f"{count} in manifests\n{listed}", "nothing was changed", Exit.USAGE)
    if not manifests.resources:
        fail(f"no resources in {', '.join(name for name, _ in sources)}", code=Exit.USAGE)
    return manifests


def delete(
    kind: Annotated[str | None, typer.Argument(metavar="[KIND]", help="Kind, as in model; or KIND/NAME.")] = None,
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Names.")] = None,
    files: FilesOption = None,
    namespace: NamespaceOption = "default",
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Return when they are gone.")] = True,
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds to wait.")] = 60.0,
    ignore_missing: Annotated[bool, typer.Option("--ignore-not-found", help="What is not there is no error.")] = False,
    home: HomeOption = NO_HOME,
) -> None:
    """Delete resources and wait until they are gone.

    \b
    arks delete application smollm2
    arks delete -f models.yaml
    arks delete model smollm2 --no-wait
    """
    targets = _targets(kind, names or [], files, namespace)
    missing = run(_delete(home, targets, timeout if wait else None))
    if missing and not ignore_missing:
        fail("; ".join(f"there is no {kind.__name__} {key}" for kind, key in missing), "nothing to do about it")


def _targets(
    kind: str | None, names: Sequence[str], files: list[str] | None, namespace: str
) -> "list[tuple[type[Resource], Key]]":
    from arks.kit.reconcile import Key

    if files:
        if kind:
            fail("give either names or -f, not both", code=Exit.USAGE)
        resources = checked(read_sources(files), namespace).resources
        return [(type(one), Key(one.namespace, one.name)) for one in reversed(in_order(resources))]
    if kind and "/" in kind and not names:
        kind, _, name = kind.partition("/")
        names = [name]
    if not kind or not names:
        fail("say what to delete", "as in `arks delete model smollm2` or `arks delete -f models.yaml`", Exit.USAGE)
    return [(kind_named(kind), Key(namespace, name)) for name in names]


async def _delete(
    home: Path, targets: "Sequence[tuple[type[Resource], Key]]", wait_seconds: float | None
) -> "list[tuple[type[Resource], Key]]":
    """Returns those that were not there."""
    missing: list[tuple[type[Resource], Key]] = []
    deleted: list[tuple[type[Resource], Key]] = []
    async with connected(home) as store:
        for kind, key in targets:
            (deleted if await store.delete(kind, key) else missing).append((kind, key))
        for kind, key in deleted:
            if wait_seconds is not None:
                await _gone(store, kind, key, wait_seconds)
            say(f"{kind.singular}/{key.name} deleted")
    return missing


async def _gone(store: "Store", kind: "type[Resource]", key: "Key", seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            while True:
                if await store.read(kind, key) is None:
                    return
                await asyncio.sleep(_GONE_SECONDS)
    except TimeoutError:
        fail(
            f"{kind.singular}/{key.name} is still there after {seconds:g} s",
            f"`arks describe {kind.singular} {key.name} -n {key.namespace}` says what it waits for",
            Exit.TIMED_OUT,
        )


def add_to(app: typer.Typer) -> None:
    app.command()(apply)
    app.command()(delete)
