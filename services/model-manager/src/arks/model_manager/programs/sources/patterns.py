"""Which files of a source a request wants."""

from collections.abc import Iterable
from fnmatch import fnmatchcase

from arks.model_manager.programs.sources.source import RemoteFile


def wanted(files: Iterable[RemoteFile], allow: tuple[str, ...], ignore: tuple[str, ...]) -> tuple[RemoteFile, ...]:
    """Files that match one of `allow`, if there are any, and none of `ignore`. `x/` stands for all files in x."""
    allowed, ignored = [_whole(pattern) for pattern in allow], [_whole(pattern) for pattern in ignore]
    return tuple(
        file for file in files if (not allowed or _matches(file.path, allowed)) and not _matches(file.path, ignored)
    )


def _whole(pattern: str) -> str:
    return f"{pattern}*" if pattern.endswith("/") else pattern


def _matches(path: str, patterns: list[str]) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in patterns)
