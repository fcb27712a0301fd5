"""Artifacts of an OCI registry: by tag and digest, private, with tokens that expire, refused."""

import base64
import json
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
from arks.model_manager.testing.registry import INDEX, PASSWORD, USER, Registry, registry_server

pytestmark = pytest.mark.real

FILES = {"config.json": b"{}", "model.safetensors": os.urandom(9 << 20), "sub/vocab.txt": b"a"}


@pytest_asyncio.fixture
async def registry() -> AsyncIterator[Registry]:
    async with registry_server() as registry:
        registry.push("v1", FILES)
        yield registry


@pytest.fixture
def request_for(registry: Registry, tmp_path: Path) -> DownloadRequest:
    reference = f"{registry.host}/acme/tiny:v1"
    return DownloadRequest(str(tmp_path / "model"), "f", reference, "http", "", kind=SourceKind.OCI)


@pytest.mark.parametrize("ranges", [True, False])
async def test_an_artifact_is_stored_file_for_file_with_its_digest_as_revision(
    registry: Registry, request_for: DownloadRequest, ranges: bool
) -> None:
    registry.ranges = ranges
    digest = registry.push("v1", FILES)
    assert FILES == await downloaded(request_for)
    complete = marker.read_complete(Path(request_for.directory))
    assert complete is not None
    assert digest == complete.revision


async def test_a_digest_pins_the_artifact_although_its_tag_moves(
    registry: Registry, request_for: DownloadRequest
) -> None:
    digest = registry.push("v1", FILES)
    registry.push("v1", {"other.txt": b"other"})
    assert FILES == await downloaded(request_for, repository=f"{registry.host}/acme/tiny:v1@{digest}")


async def test_an_index_of_one_manifest_is_followed(registry: Registry, request_for: DownloadRequest) -> None:
    digest = registry.push("manifest", FILES)
    registry.put("v1", {"schemaVersion": 2, "mediaType": INDEX, "manifests": [{"digest": digest}]})
    assert FILES == await downloaded(request_for)


@pytest.mark.parametrize("docker", [True, False])
async def test_a_private_artifact_needs_its_login(
    registry: Registry, request_for: DownloadRequest, docker: bool
) -> None:
    registry.private = True
    without = await refused(request_for)
    assert (FailureKind.DENIED, True) == (without.kind, "source.oci.secretRef" in str(without))
    auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    config = {"DOCKER_CONFIG_JSON": json.dumps({"auths": {registry.host: {"auth": auth}}})}
    credentials = config if docker else {"USERNAME": USER, "PASSWORD": PASSWORD}
    assert FILES == await downloaded(request_for, credentials=credentials)


async def test_a_token_that_expires_during_the_download_is_renewed(
    registry: Registry, request_for: DownloadRequest
) -> None:
    registry.requests_per_token = 3
    assert FILES == await downloaded(request_for, connections=1)
    assert registry.logins > 1


async def test_an_image_without_named_files_and_unknown_tags_are_refused_with_a_reason(
    registry: Registry, request_for: DownloadRequest
) -> None:
    registry.push("image", {"layer": b"x"}, media_type="application/vnd.oci.image.layer.v1.tar+gzip")
    image = await refused(request_for, repository=f"{registry.host}/acme/tiny:image")
    assert (FailureKind.INVALID, True) == (image.kind, "not an artifact of files" in str(image))
    missing = await refused(request_for, repository=f"{registry.host}/acme/tiny:v9")
    assert (FailureKind.NOT_FOUND, True) == (missing.kind, "has no v9" in str(missing))


async def test_bytes_of_another_digest_are_damaged(registry: Registry, request_for: DownloadRequest) -> None:
    digest = next(digest for digest, content in registry.blobs.items() if content == FILES["config.json"])
    registry.blobs[digest] = b"[]"
    assert FailureKind.CORRUPT is (await refused(request_for)).kind
