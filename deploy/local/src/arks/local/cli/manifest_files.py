"""Read and validate the manifests that `-f` names."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from arks.local.cli.failure import Exit, fail
from arks.local.render.kinds import SECRET, find_kind

if TYPE_CHECKING:
    from arks.contracts.resources import Resource
    from arks.local.manifests.parse import Finding

_SUFFIXES = (".yaml", ".yml", ".json")
_ORDER = (
    "Secret",
    "ArksModel",
    "ArksApplication",
    "ArksDisaggregatedApplication",
    "ArksAutoscaler",
    "ArksEndpoint",
    "ArksQuota",
    "ArksToken",
)
_NOTHING_CHANGED = "nothing was changed"
_MAX_BYTES = 16 * 1024 * 1024


def read_resources(files: Sequence[str], namespace: str) -> "list[Resource]":
    """The valid resources of the files, in the order in which they are applied: references point to earlier ones.

    Warnings go to stderr. Raises Failure with all errors of all files.
    """
    from arks.local.manifests import parse_manifests

    sources = read_texts(files)
    manifests = parse_manifests(sources, default_namespace=namespace)
    for warning in manifests.warnings:
        typer.echo(f"warning: {warning}", err=True)
    if manifests.errors:
        listed = "\n".join(str(error) for error in manifests.errors)
        count = "1 error" if len(manifests.errors) == 1 else f"{len(manifests.errors)} errors"
        fail(f"{count} in manifests\n{listed}", _next_step(manifests.errors), Exit.USAGE)
    if not manifests.resources:
        next_step = "a resource has apiVersion, kind, metadata and spec; `arks run OWNER/NAME -o yaml` prints examples"
        fail(f"no resources in {', '.join(name for name, _ in sources)}", next_step, Exit.USAGE)
    return in_order(manifests.resources)


def _next_step(errors: "Sequence[Finding]") -> str:
    """Where to look up the fields of the first kind that has an error."""
    kind = next((kind for error in errors if (kind := find_kind(error.kind))), None)
    if kind is None:
        return _NOTHING_CHANGED
    path = kind.word if kind is SECRET else f"{kind.word}.spec"
    return f"{_NOTHING_CHANGED}; `arks fields {path}` shows the fields of {kind.name}"


def read_texts(files: Sequence[str]) -> list[tuple[str, str]]:
    """Names and texts of the files, of all manifests of a directory, or of standard input. Raises Failure."""
    if not files:
        fail("no manifest given", "name manifests with -f FILE, -f DIRECTORY, or -f - for standard input", Exit.USAGE)
    return [source for file in files for source in _read(file)]


def in_order(resources: "Sequence[Resource]") -> "list[Resource]":
    """A resource comes after those that it names: a token before its quota would be reported as not ready."""
    return sorted(resources, key=lambda resource: _ORDER.index(resource.kind))


def _read(file: str) -> list[tuple[str, str]]:
    """File names with their text."""
    if file == "-":
        return [("<stdin>", _text("<stdin>", sys.stdin.buffer.read(_MAX_BYTES + 1)))]
    path = Path(file)
    if path.is_dir():
        found = sorted(entry for entry in path.iterdir() if entry.suffix in _SUFFIXES and entry.is_file())
        if not found:
            fail(f"{path} contains no manifest", f"manifests end in {', '.join(_SUFFIXES)}", Exit.USAGE)
        return [source for entry in found for source in _read(str(entry))]
    try:
        with path.open("rb") as opened:
            return [(file, _text(file, opened.read(_MAX_BYTES + 1)))]
    except OSError as error:
        next_step = "name an existing file or directory, or - for standard input"
        fail(f"cannot read {file}: {error.strerror or error}", next_step, Exit.USAGE)


def _text(name: str, raw: bytes) -> str:
    if len(raw) > _MAX_BYTES:
        fail(
            f"{name} is larger than {_MAX_BYTES // 1024**2} MiB: it is not a manifest", "name another file", Exit.USAGE
        )
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        fail(f"{name}:{line}: is not UTF-8 text", _NOTHING_CHANGED, Exit.USAGE)
