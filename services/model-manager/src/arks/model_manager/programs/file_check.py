"""Check a local file's SHA-256."""

import hashlib
from pathlib import Path

from arks.model_manager.adapters.marker import write_record
from arks.model_manager.domain.failures import DownloadFailed, FailureKind
from arks.model_manager.domain.protocol import CheckRequest
from arks.model_manager.programs.byte_counter import ByteCounter
from arks.model_manager.programs.file_hash import update_with


def check_file(request: CheckRequest, counter: ByteCounter) -> None:
    """Hash the file and record the result. Raises DownloadFailed."""
    path = Path(request.path)
    try:
        state = path.stat()
        counter.total_bytes = state.st_size
        found = update_with(hashlib.sha256(), path, lambda position: counter.set_position(request.path, position))
        if found != request.sha256:
            message = f"{path} has the SHA-256 {found}, not {request.sha256} as source.file.sha256 requires"
            raise DownloadFailed(FailureKind.INVALID, message)
        write_record(
            Path(request.record),
            {
                "path": request.path,
                "sha256": request.sha256,
                "size_bytes": state.st_size,
                "modified_ns": state.st_mtime_ns,
                "inode": state.st_ino,
            },
        )
    except OSError as error:
        raise DownloadFailed(FailureKind.STORAGE, f"{error.filename or path}: {error.strerror}") from error
