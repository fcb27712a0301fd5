"""Files of web servers: with and without ranges, behind redirects, refused, broken off, replaced."""

import hashlib
import os
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import trustme

from arks.model_manager.adapters import marker
from arks.model_manager.domain.failures import FailureKind
from arks.model_manager.domain.protocol import DownloadRequest
from arks.model_manager.domain.source_kind import HttpFile, SourceKind
from arks.model_manager.testing.downloads import downloaded, refused
from arks.model_manager.testing.web import WebServer, web_server

pytestmark = pytest.mark.real

WEIGHTS = os.urandom(1_500_000)
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()


def request_of(server: WebServer, directory: Path, sha256: str | None = SHA256) -> DownloadRequest:
    server.files["/files/model.gguf"] = WEIGHTS
    file = HttpFile(f"{server.url}/files/model.gguf?x=1", "model.gguf", sha256)
    return DownloadRequest(str(directory), "f", "", "", "", kind=SourceKind.HTTP, files=(file,))


@pytest_asyncio.fixture
async def server() -> AsyncIterator[WebServer]:
    async with web_server() as server:
        yield server


@pytest.fixture
def request_for(server: WebServer, tmp_path: Path) -> DownloadRequest:
    return request_of(server, tmp_path / "model")


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("redirects", [True, False])
async def test_a_file_is_stored_with_or_without_ranges_and_redirects(
    server: WebServer, request_for: DownloadRequest, ranges: bool, redirects: bool
) -> None:
    server.ranges, server.redirects = ranges, redirects
    assert {"model.gguf": WEIGHTS} == await downloaded(request_for)


async def test_a_large_file_is_read_by_several_streams(server: WebServer, request_for: DownloadRequest) -> None:
    server.files["/files/model.gguf"] = large = os.urandom(20 << 20)
    file = HttpFile(request_for.files[0].url, "model.gguf", hashlib.sha256(large).hexdigest())
    assert {"model.gguf": large} == await downloaded(request_for, files=(file,))
    assert [0, 8 << 20, 16 << 20] == sorted(server.starts)


async def test_another_digest_than_the_required_one_fails_with_both(request_for: DownloadRequest) -> None:
    file = HttpFile(request_for.files[0].url, "model.gguf", "0" * 64)
    failure = await refused(request_for, files=(file,))
    assert (FailureKind.CORRUPT, True, True) == (failure.kind, SHA256 in str(failure), "0" * 64 in str(failure))


@pytest.mark.parametrize("etags", [True, False])
async def test_a_body_that_breaks_off_is_continued(
    server: WebServer, request_for: DownloadRequest, etags: bool
) -> None:
    server.etags, server.cut_after_bytes = etags, [900_000]
    assert {"model.gguf": WEIGHTS} == await downloaded(request_for)
    assert server.starts[1] > 500_000


async def test_a_body_without_ranges_that_breaks_off_begins_again_at_the_retry(
    server: WebServer, request_for: DownloadRequest
) -> None:
    server.ranges, server.etags, server.cut_after_bytes = False, False, [900_000]
    assert FailureKind.NETWORK is (await refused(request_for)).kind
    assert {"model.gguf": WEIGHTS} == await downloaded(request_for)


@pytest.mark.parametrize("status", [429, 503])
async def test_a_request_to_a_busy_server_is_repeated(
    server: WebServer, request_for: DownloadRequest, status: int
) -> None:
    server.statuses = [status, status]
    assert {"model.gguf": WEIGHTS} == await downloaded(request_for)


async def test_a_file_that_is_replaced_during_its_download_is_a_failure_with_the_cause(
    server: WebServer, request_for: DownloadRequest
) -> None:
    server.replaced_after_probe = WEIGHTS[::-1]
    failure = await refused(request_for)
    assert (FailureKind.CORRUPT, True) == (failure.kind, "was replaced during its download" in str(failure))


@pytest.mark.parametrize("etags", [True, False])
async def test_another_file_of_the_same_size_is_fetched_although_no_digest_is_known(
    server: WebServer, tmp_path: Path, etags: bool
) -> None:
    server.etags = etags
    first = request_of(server, tmp_path / "model", sha256=None)
    await downloaded(first)
    server.files["/files/tuned.gguf"] = tuned = WEIGHTS[::-1]
    file = HttpFile(f"{server.url}/files/tuned.gguf", "model.gguf")
    assert {"model.gguf": tuned} == await downloaded(first, files=(file,), fingerprint="tuned")


async def test_a_file_without_a_digest_is_not_fetched_again(server: WebServer, tmp_path: Path) -> None:
    request = request_of(server, tmp_path / "model", sha256=None)
    await downloaded(request)
    complete = marker.read_complete(tmp_path / "model")
    assert complete is not None
    assert [SHA256] == [file.content_sha256 for file in complete.files]
    server.starts.clear()
    assert {"model.gguf": WEIGHTS} == await downloaded(request, fingerprint="other patterns")
    assert [] == server.starts


async def test_access_needs_the_header_of_the_secret(server: WebServer, request_for: DownloadRequest) -> None:
    server.authorization, server.redirects = "Bearer right", True
    without = await refused(request_for)
    assert (FailureKind.DENIED, True) == (without.kind, "source.http.secretRef" in str(without))
    assert "wrong-key" not in str(await refused(request_for, credentials={"AUTHORIZATION": "Bearer wrong-key"}))
    assert {"model.gguf": WEIGHTS} == await downloaded(request_for, credentials={"AUTHORIZATION": "Bearer right"})


async def test_a_missing_file_is_not_found(server: WebServer, request_for: DownloadRequest) -> None:
    server.files.clear()
    assert FailureKind.NOT_FOUND is (await refused(request_for)).kind


async def test_a_limit_of_bytes_a_second_is_kept(server: WebServer, request_for: DownloadRequest) -> None:
    server.files["/files/model.gguf"] = WEIGHTS
    began = time.monotonic()
    await downloaded(request_for, bytes_per_second=3_000_000)
    assert time.monotonic() - began >= 0.4


async def test_a_private_certificate_needs_its_authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority, tls = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    async with web_server(tls) as server:
        request = request_of(server, tmp_path / "model")
        assert FailureKind.NETWORK is (await refused(request)).kind
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        assert {"model.gguf": WEIGHTS} == await downloaded(request)
