"""Hash a model's files again and compare them with what was recorded: `python -m arks.model_manager.programs.verify`.

`arks model verify` starts it on one machine; on Kubernetes it runs in any pod that mounts the PVC. With --repair it
deletes damaged files under the lock of downloads, and model-manager fetches them again: engines that run keep the file
that they have open. Content that models share is checked again before another model gets it (`adapters/store.py`).
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from arks.model_manager.adapters import marker
from arks.model_manager.domain.failures import DownloadFailed
from arks.model_manager.programs.directory_lock import locked
from arks.model_manager.programs.file_hash import difference
from arks.model_manager.programs.sources.source import RemoteFile


@dataclass(frozen=True, slots=True)
class Checked:
    """One line of the output: the result of one file."""

    path: str
    """Relative to the model's directory, for messages."""
    file: str
    size_bytes: int
    fault: str = ""
    """How the content differs; empty if it does not."""
    recorded: bool = True
    """False: there is no digest to compare with."""


def model_directory(path: Path) -> Path | None:
    """The directory with the marker of a model: `path`, what engines load, or above it."""
    candidates = [path, *path.parents]
    return next((directory for directory in candidates if marker.read_complete(directory) is not None), None)


def check(directory: Path, files: Sequence[marker.StoredFile]) -> Iterator[Checked]:
    """Raises OSError for a file that exists and cannot be read."""
    for file in files:
        yield _check(directory / file.path, file)


def check_alone(path: Path, sha256: str | None) -> Checked:
    """A file that is used in place. Raises OSError."""
    size = path.stat().st_size
    if sha256 is None:
        return Checked(path.name, str(path), size, recorded=False)
    return Checked(path.name, str(path), size, difference(path, RemoteFile(path.name, size, sha256=sha256)))


def remove(directory: Path, broken: Sequence[Checked]) -> None:
    """Delete damaged files, so that they are fetched again. Raises DownloadFailed while a download runs, OSError."""
    with locked(marker.lock_file(directory)):
        for result in broken:
            Path(result.file).unlink(missing_ok=True)


def _check(path: Path, file: marker.StoredFile) -> Checked:
    if not path.is_file():
        return Checked(file.path, str(path), file.size_bytes, "it is missing")
    sha256 = file.sha256 or file.content_sha256
    expected = RemoteFile(file.path, file.size_bytes, sha256=sha256, git_sha1=file.git_sha1)
    fault = difference(path, expected)
    return Checked(file.path, str(path), file.size_bytes, fault, recorded=expected.hashed)


def main(arguments: list[str] | None = None) -> int:
    """Status 0: all is as recorded; 1: a file differs; 2: nothing could be checked."""
    options = _parser().parse_args(arguments)
    directory = model_directory(options.path)
    try:
        return _run(options, directory)
    except (DownloadFailed, OSError) as error:
        sys.stderr.write(f"{options.path}: {error}\n")
        return 2


def _run(options: argparse.Namespace, directory: Path | None) -> int:
    complete = marker.read_complete(directory) if directory is not None else None
    if directory is None or complete is None:
        if not options.path.is_file():
            raise FileNotFoundError("nothing was recorded of its files: no download of Arks has filled it")
        results: Iterator[Checked] = iter([check_alone(options.path, options.sha256)])
    else:
        results = check(directory, complete.files)
    broken = []
    for result in results:
        sys.stdout.write(json.dumps(asdict(result)) + "\n")
        sys.stdout.flush()
        broken += [result] if result.fault else []
    if broken and options.repair and directory is not None:
        remove(directory, broken)
    return 1 if broken else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("verify", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("path", type=Path, help="a model's directory, or the file that engines load")
    parser.add_argument("--sha256", help="of a file that is used in place")
    parser.add_argument("--repair", action="store_true", help="delete damaged files: model-manager fetches them again")
    return parser


if __name__ == "__main__":
    sys.exit(main())
