"""The interface of all sources, and what they list."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of a source, as the source lists it."""

    path: str
    """Where it is stored, relative to the model's directory, `/` between its parts."""
    size_bytes: int
    sha256: str | None = None
    git_sha1: str | None = None
    """The hash of git's blob: what hubs give for small files."""
    version: str | None = None
    """Changes with the content, for sources that give no hash: an ETag."""
    ranges: bool = True
    """Whether the source sends parts of it. Without, a transfer begins at byte 0."""

    @property
    def hashed(self) -> bool:
        """Whether the source gives a hash of its content."""
        return self.sha256 is not None or self.git_sha1 is not None

    @property
    def identity(self) -> str | None:
        """Equal for equal content; None if the source gives neither hash nor version."""
        return self.sha256 or self.git_sha1 or self.version


@dataclass(frozen=True, slots=True)
class Listing:
    revision: str
    """What `status.revision` shows: a commit, a digest. It changes with any file."""
    files: tuple[RemoteFile, ...]


class Source(Protocol):
    """One source, as a request names it. Methods are called from many threads and raise DownloadFailed."""

    def listing(self) -> Listing:
        """The files that match the request's patterns."""

    def read(self, file: RemoteFile, revision: str, start: int, end: int) -> Iterator[bytes]:
        """The bytes from `start` up to `end`, in blocks. Fewer blocks than that mean a broken connection."""

    def close(self) -> None: ...
