"""Buckets of a real S3 server: prefixes, single objects, keys, changed objects."""

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from arks.kit.ports import free_port
from arks.kit.testing.servers import serve
from arks.model_manager.adapters import marker
from arks.model_manager.domain.failures import FailureKind
from arks.model_manager.domain.protocol import DownloadRequest
from arks.model_manager.domain.source_kind import SourceKind
from arks.model_manager.testing.downloads import downloaded, refused

pytestmark = pytest.mark.kube  # the server is built with the programs of the test cluster

BINARIES = Path(os.environ.get("KUBE_BIN", Path.home() / ".cache/arks-kube/bin"))
WEIGHTS = os.urandom(9 << 20)
FILES = {"config.json": b"{}", "model.safetensors": WEIGHTS, "sub/a b#c.txt": b"text"}
KEYS = {"AWS_ACCESS_KEY_ID": "user", "AWS_SECRET_ACCESS_KEY": "secret"}


def write(bucket: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        path = bucket / "models/tiny" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@pytest_asyncio.fixture
async def request_for(tmp_path: Path) -> AsyncIterator[DownloadRequest]:
    """A download of s3://weights/models/tiny, whose objects are in <tmp>/s3/weights."""
    write(tmp_path / "s3/weights", FILES)
    port = free_port()
    command = [str(BINARIES / "versitygw"), "--port", f"127.0.0.1:{port}", "--access", "user", "--secret", "secret"]
    (tmp_path / "iam").mkdir()
    async with serve([*command, "--iam-dir", str(tmp_path / "iam"), "posix", str(tmp_path / "s3")], port, tmp_path):
        yield DownloadRequest(
            str(tmp_path / "model"),
            "f",
            "s3://weights/models/tiny",
            f"http://127.0.0.1:{port}",
            "",
            kind=SourceKind.S3,
            region="us-east-1",
            credentials=KEYS,
        )


async def test_a_prefix_is_stored_file_for_file_and_patterns_choose(request_for: DownloadRequest) -> None:
    assert FILES == await downloaded(request_for)
    chosen = await downloaded(request_for, allow_patterns=("*.json", "sub/"), fingerprint="other")
    assert ["config.json", "sub/a b#c.txt"] == sorted(chosen)


async def test_one_object_is_a_model_of_one_file(request_for: DownloadRequest) -> None:
    url = "s3://weights/models/tiny/model.safetensors"
    assert {"model.safetensors": WEIGHTS} == await downloaded(request_for, repository=url)


async def test_a_changed_object_has_another_revision_and_only_it_is_fetched(
    request_for: DownloadRequest, tmp_path: Path
) -> None:
    await downloaded(request_for)
    before = marker.read_complete(tmp_path / "model")
    write(tmp_path / "s3/weights", {"config.json": b'{"new": 1}'})
    assert FILES | {"config.json": b'{"new": 1}'} == await downloaded(request_for)
    after = marker.read_complete(tmp_path / "model")
    assert before is not None
    assert after is not None
    assert before.revision != after.revision


async def test_refusals_name_the_field_with_the_next_step(request_for: DownloadRequest, tmp_path: Path) -> None:
    wrong = await refused(request_for, credentials=KEYS | {"AWS_SECRET_ACCESS_KEY": "guessed"})
    assert (FailureKind.DENIED, True) == (wrong.kind, "source.s3.secretRef give no access" in str(wrong))
    assert "guessed" not in str(wrong)
    without = await refused(request_for, credentials={})
    assert (FailureKind.DENIED, True) == (without.kind, "no keys are named in source.s3.secretRef" in str(without))
    assert FailureKind.NOT_FOUND is (await refused(request_for, repository="s3://weights/nothing")).kind
    assert FailureKind.NOT_FOUND is (await refused(request_for, repository="s3://nothing/x")).kind
    shutil.rmtree(tmp_path / "model", ignore_errors=True)
