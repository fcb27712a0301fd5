"""Rules of storage paths: `/` between their parts, also where they name a PVC. Standard library only."""

from pathlib import PurePosixPath

ARKS_DIRECTORY = ".arks"
"""In each model's directory: the marker, and files that are not whole yet."""
REMOVING = ".removing-"
"""Begins the name of a directory that is being removed."""


def overlap(first: str, second: str) -> bool:
    """Whether two storage paths are equal or one contains the other."""
    return f"{first}/".startswith(f"{second}/") or f"{second}/".startswith(f"{first}/")


def with_ancestors(storage_path: str) -> list[str]:
    """The path and every path that contains it: `a/b/c`, `a/b`, `a`."""
    parts = storage_path.split("/")
    return ["/".join(parts[:end]) for end in range(len(parts), 0, -1)]


def is_reserved(path: str) -> bool:
    """Whether the path is the whole storage, or a name that Arks uses in it."""
    parts = PurePosixPath(path).parts
    return not parts or parts[0].startswith(REMOVING) or ARKS_DIRECTORY in parts
