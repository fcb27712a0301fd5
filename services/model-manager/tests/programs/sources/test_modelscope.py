"""Repositories of a hub with ModelScope's API."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from arks.model_manager.adapters import marker
from arks.model_manager.domain.failures import FailureKind
from arks.model_manager.domain.protocol import DownloadRequest
from arks.model_manager.domain.source_kind import SourceKind
from arks.model_manager.testing.downloads import downloaded, refused
from arks.model_manager.testing.modelscope import ModelScopeHub, modelscope_server

pytestmark = pytest.mark.real

FILES = {"config.json": b"{}", "model.safetensors": os.urandom(300_000), "sub/a b&c.txt": b"text"}


@pytest_asyncio.fixture
async def hub() -> AsyncIterator[ModelScopeHub]:
    async with modelscope_server() as hub:
        hub.files = FILES
        yield hub


@pytest.fixture
def request_for(hub: ModelScopeHub, tmp_path: Path) -> DownloadRequest:
    kind = SourceKind.MODELSCOPE
    return DownloadRequest(str(tmp_path / "model"), "f", "acme/tiny", hub.url, "master", kind=kind)


async def test_a_repository_is_stored_with_its_newest_commit_as_revision(request_for: DownloadRequest) -> None:
    assert FILES == await downloaded(request_for)
    complete = marker.read_complete(Path(request_for.directory))
    assert complete is not None
    assert "commit-3" == complete.revision


async def test_a_private_repository_needs_its_token(hub: ModelScopeHub, request_for: DownloadRequest) -> None:
    hub.token = "right"
    without = await refused(request_for)
    assert (FailureKind.DENIED, True) == (without.kind, "source.modelscope.secretRef" in str(without))
    assert FILES == await downloaded(request_for, credentials={"MODELSCOPE_API_TOKEN": "right"})


async def test_unknown_repositories_and_revisions_are_not_found(request_for: DownloadRequest) -> None:
    assert FailureKind.NOT_FOUND is (await refused(request_for, repository="acme/nothing")).kind
    assert FailureKind.NOT_FOUND is (await refused(request_for, revision="v9")).kind
