"""Run downloads in this process, for tests of sources."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from arks.model_manager.domain.failures import DownloadFailed
from arks.model_manager.domain.protocol import DownloadRequest
from arks.model_manager.domain.storage_path import ARKS_DIRECTORY
from arks.model_manager.programs.byte_counter import ByteCounter
from arks.model_manager.programs.repository import download_repository


async def downloaded(request: DownloadRequest, **changes: Any) -> dict[str, bytes]:
    """The files of the model's directory after a download."""
    request = replace(request, **changes)
    await asyncio.to_thread(download_repository, request, ByteCounter())
    return stored(Path(request.directory))


async def refused(request: DownloadRequest, **changes: Any) -> DownloadFailed:
    with pytest.raises(DownloadFailed) as caught:
        await downloaded(request, **changes)
    return caught.value


def stored(directory: Path) -> dict[str, bytes]:
    files = (path for path in directory.rglob("*") if path.is_file() and ARKS_DIRECTORY not in path.parts)
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}
