"""Copy a GGUF file into a model's directory: `python -m arks.model_manager.programs.import_file FILE DIRECTORY`.

The directory is then complete, as after a download, and Arks' own: it goes with its model. Prints the bytes that are
copied, a line each. A copy that was killed begins again.
"""

import argparse
import hashlib
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from arks.contracts.quantities import human_bytes
from arks.model_manager.adapters import marker
from arks.model_manager.adapters.inspection import GGUF_MAGIC
from arks.model_manager.domain.failures import DownloadFailed
from arks.model_manager.programs.directory_lock import locked

_BLOCK_BYTES = 4 << 20
FINGERPRINT = "imported"


class NotImported(Exception):
    """The file cannot be imported; the message has the reason."""


def import_file(file: Path, directory: Path, by: str, reserve_bytes: int, on_position: Callable[[int], None]) -> None:
    """`by`: the model. `reserve_bytes`: of the disk, stay free. Raises NotImported, DownloadFailed, OSError."""
    with file.open("rb") as opened:
        if opened.read(len(GGUF_MAGIC)) != GGUF_MAGIC:
            raise NotImported(f"{file} is not a GGUF file")
    if directory.exists() and marker.read_complete(directory) is None and not marker.created_by_arks(directory):
        raise NotImported(f"{directory} exists and holds other files")
    directory.mkdir(parents=True, exist_ok=True)
    size, free = file.stat().st_size, shutil.disk_usage(directory).free
    if size + reserve_bytes > free:
        raise NotImported(f"{file} has {human_bytes(size)}, and {human_bytes(free)} are free in {directory}")
    marker.mark_created(directory, by)
    marker.partial_directory(directory).mkdir(exist_ok=True)
    with locked(marker.lock_file(directory)):
        stored = _copied(file, directory, on_position)
        marker.mark_complete(directory, marker.Complete(FINGERPRINT, stored.sha256 or "", (stored,)))
        shutil.rmtree(marker.partial_directory(directory), ignore_errors=True)


def _copied(file: Path, directory: Path, on_position: Callable[[int], None]) -> marker.StoredFile:
    partial, target = marker.partial_directory(directory) / file.name, directory / file.name
    digest, position = hashlib.sha256(), 0
    with file.open("rb") as source, partial.open("wb") as copy:
        while block := source.read(_BLOCK_BYTES):
            copy.write(block)
            digest.update(block)
            position += len(block)
            on_position(position)
        copy.flush()
        os.fsync(copy.fileno())
    marker.retire_complete(directory)
    partial.replace(target)
    previous = marker.read_previous(directory)
    for old in previous.files if previous else ():
        if old.path != file.name:
            (directory / old.path).unlink(missing_ok=True)
    marker.forget_previous(directory)
    state = target.stat()
    return marker.StoredFile(file.name, state.st_size, state.st_mtime_ns, digest.hexdigest())


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("import_file", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--by", default="", help="the model, for people who read the marker")
    parser.add_argument("--reserve-bytes", type=int, default=256 << 20, help="of the disk, stay free")
    options = parser.parse_args(arguments)
    try:
        import_file(options.file, options.directory, options.by, options.reserve_bytes, _print_position)
    except (NotImported, DownloadFailed, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _print_position(position: int) -> None:
    sys.stdout.write(f"{position}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
