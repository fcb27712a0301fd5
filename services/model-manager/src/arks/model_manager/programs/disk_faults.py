"""Translate errors of the disk."""

import errno

from arks.model_manager.domain.failures import DownloadFailed, FailureKind

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def disk_failed(error: OSError, directory: str) -> DownloadFailed:
    if error.errno in _FULL:
        return DownloadFailed(FailureKind.NO_SPACE, f"no space left for {directory} ({error.strerror})")
    return DownloadFailed(FailureKind.STORAGE, f"{directory} cannot be written: {error.strerror}")
