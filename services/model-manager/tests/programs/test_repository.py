"""Downloads from a hub: whole, resumed, damaged, refused, without space."""

import asyncio
import hashlib
import os
import shutil
import stat
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from arks.model_manager.adapters import marker
from arks.model_manager.adapters.collector import ReadDisk, read_disk
from arks.model_manager.domain.failures import DownloadFailed, FailureKind
from arks.model_manager.domain.garbage import Disk
from arks.model_manager.domain.protocol import DownloadRequest
from arks.model_manager.domain.storage_path import ARKS_DIRECTORY
from arks.model_manager.programs.byte_counter import ByteCounter
from arks.model_manager.programs.repository import download_repository
from arks.model_manager.testing.hub import Fault, Hub, hub_server

pytestmark = pytest.mark.real

WEIGHTS = os.urandom(1_500_000)
CONFIG = b'{"architectures": ["Tiny"]}'
FILES = {"config.json": CONFIG, "model.gguf": WEIGHTS, "sub/vocab.txt": b"a\nb\n", "empty.txt": b""}
MANY = "acme/tiny"


@pytest_asyncio.fixture
async def hub() -> AsyncIterator[Hub]:
    async with hub_server() as hub:
        yield hub


@pytest.fixture
def request_for(hub: Hub, tmp_path: Path) -> DownloadRequest:
    hub.add(MANY, FILES)
    return DownloadRequest(str(tmp_path / "model"), "fingerprint", MANY, hub.url, "main")


async def downloaded(request: DownloadRequest, disk: ReadDisk = read_disk) -> ByteCounter:
    counter = ByteCounter()
    await asyncio.to_thread(download_repository, request, counter, disk)
    return counter


async def refused(request: DownloadRequest, disk: ReadDisk = read_disk) -> DownloadFailed:
    with pytest.raises(DownloadFailed) as caught:
        await downloaded(request, disk)
    return caught.value


def stored(request: DownloadRequest) -> dict[str, bytes]:
    root = Path(request.directory)
    files = (path for path in root.rglob("*") if path.is_file() and ARKS_DIRECTORY not in path.parts)
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


async def test_a_repository_is_stored_file_for_file_with_a_marker(hub: Hub, request_for: DownloadRequest) -> None:
    counter = await downloaded(request_for)
    assert stored(request_for) == FILES
    complete = marker.read_complete(Path(request_for.directory))
    assert complete is not None
    digests = {file.path: file.sha256 for file in complete.files}
    assert digests["model.gguf"] == hashlib.sha256(WEIGHTS).hexdigest()
    assert complete.revision == hub.repositories[MANY][0].commit
    assert counter.report().done_bytes == counter.total_bytes == sum(map(len, FILES.values()))


async def test_a_repeated_download_transfers_and_hashes_nothing_again(hub: Hub, request_for: DownloadRequest) -> None:
    await downloaded(request_for)
    hub.served.clear()
    await downloaded(request_for)
    assert hub.served == []


async def test_patterns_choose_files(hub: Hub, request_for: DownloadRequest) -> None:
    await downloaded(replace(request_for, allow_patterns=("*.gguf", "*.json"), ignore_patterns=("config*",)))
    assert list(stored(request_for)) == ["model.gguf"]


async def test_patterns_without_a_match_are_an_error(request_for: DownloadRequest) -> None:
    failure = await refused(replace(request_for, allow_patterns=("*.none",)))
    assert failure.kind is FailureKind.INVALID
    assert "none that match" in str(failure)


async def test_another_revision_replaces_changed_files_and_removes_old_ones(
    hub: Hub, request_for: DownloadRequest
) -> None:
    await downloaded(request_for)
    hub.add(MANY, {"config.json": CONFIG, "model.gguf": WEIGHTS[::-1]}, revision="v2")
    hub.served.clear()
    await downloaded(replace(request_for, revision="v2", fingerprint="other"))
    assert stored(request_for) == {"config.json": CONFIG, "model.gguf": WEIGHTS[::-1]}
    assert {served.path for served in hub.served} == {"model.gguf"}


async def test_a_cut_connection_resumes_where_it_was_cut(hub: Hub, request_for: DownloadRequest) -> None:
    hub.faults = [Fault("model.gguf", cut_after_bytes=1_000_000)]
    await downloaded(request_for)
    starts = [served.start for served in hub.served if served.path == "model.gguf"]
    assert starts[0] == 0
    assert starts[1] > 500_000
    assert stored(request_for)["model.gguf"] == WEIGHTS


async def test_bytes_damaged_in_transfer_are_downloaded_again(hub: Hub, request_for: DownloadRequest) -> None:
    hub.faults = [Fault("model.gguf", wrong_bytes=True), Fault("config.json", wrong_bytes=True)]
    await downloaded(request_for)
    assert stored(request_for) == FILES


async def test_a_hub_whose_bytes_are_always_wrong_fails_with_both_digests(
    hub: Hub, request_for: DownloadRequest
) -> None:
    hub.faults = [Fault("model.gguf", wrong_bytes=True, times=9)]
    failure = await refused(request_for)
    assert failure.kind is FailureKind.CORRUPT
    assert hashlib.sha256(WEIGHTS).hexdigest() in str(failure)
    assert "model.gguf" not in stored(request_for)


async def test_a_file_damaged_on_disk_is_downloaded_again(hub: Hub, request_for: DownloadRequest) -> None:
    await downloaded(request_for)
    (Path(request_for.directory) / "model.gguf").write_bytes(bytes(len(WEIGHTS)))
    await downloaded(request_for)
    assert stored(request_for) == FILES


async def test_an_existing_file_is_hashed_instead_of_downloaded(hub: Hub, request_for: DownloadRequest) -> None:
    target = Path(request_for.directory) / "model.gguf"
    target.parent.mkdir(parents=True)
    target.write_bytes(WEIGHTS)
    await downloaded(request_for)
    assert "model.gguf" not in {served.path for served in hub.served}


async def test_a_private_repository_needs_its_token_which_storage_never_sees(
    hub: Hub, request_for: DownloadRequest
) -> None:
    hub.add("acme/private", FILES, token="hf_right")
    private = replace(request_for, repository="acme/private")
    without, wrong = await refused(private), await refused(replace(private, credentials={"HF_TOKEN": "hf_wrong"}))
    assert without.kind is wrong.kind is FailureKind.DENIED
    assert "no token is named" in str(without)
    assert "hf_wrong" not in str(wrong)
    await downloaded(replace(private, credentials={"HF_TOKEN": "hf_right"}))
    assert stored(request_for) == FILES


async def test_the_failure_of_a_gated_repository_has_advice(hub: Hub, request_for: DownloadRequest) -> None:
    hub.add("acme/gated", FILES, token="hf_right", gated=True)
    failure = await refused(replace(request_for, repository="acme/gated"))
    assert failure.kind is FailureKind.DENIED
    assert "accept its terms" in str(failure)
    mistyped = await refused(replace(request_for, repository="acme/gated", credentials={"HF_TOKEN": "hf_wrong"}))
    assert "the token of source.huggingface.tokenSecretRef gives no access to it" in str(mistyped)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"repository": "acme/nothing", "credentials": {"HF_TOKEN": "hf_x"}}, FailureKind.NOT_FOUND),
        ({"revision": "v9"}, FailureKind.NOT_FOUND),
        ({"endpoint": "http://127.0.0.1:9"}, FailureKind.NETWORK),
        ({"repository": "acme//x"}, FailureKind.INVALID),
    ],
)
async def test_failures_of_wrong_requests_have_their_kinds(
    request_for: DownloadRequest, change: dict[str, object], kind: FailureKind
) -> None:
    assert (await refused(replace(request_for, **change))).kind is kind  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("status", "kind"), [(401, FailureKind.DENIED), (403, FailureKind.DENIED), (500, FailureKind.NETWORK)]
)
async def test_failures_of_refused_files_have_their_kinds(
    hub: Hub, request_for: DownloadRequest, status: int, kind: FailureKind
) -> None:
    hub.faults = [Fault("model.gguf", status=status, times=99)]
    failure = await refused(request_for)
    assert failure.kind is kind
    assert "signature" not in str(failure)


async def test_a_repository_that_reaches_outside_its_directory_is_refused(
    hub: Hub, request_for: DownloadRequest
) -> None:
    hub.add("acme/evil", {"../outside.txt": b"x"})
    failure = await refused(replace(request_for, repository="acme/evil"))
    assert failure.kind is FailureKind.INVALID
    assert not (Path(request_for.directory).parent / "outside.txt").exists()


async def test_too_little_space_fails_with_the_sizes_before_the_first_byte(
    hub: Hub, request_for: DownloadRequest
) -> None:
    failure = await refused(replace(request_for, reserve_bytes=50_000_000), lambda _: Disk(10**9, 51_000_000))
    assert failure.kind is FailureKind.NO_SPACE
    assert "needs 1.5 MB more and 50.0 MB in reserve, 51.0 MB are free" in str(failure)
    assert hub.served == []


async def test_two_models_with_equal_files_share_their_bytes(hub: Hub, request_for: DownloadRequest) -> None:
    first = replace(request_for, store=f"{request_for.directory}/../.arks/store")
    await downloaded(first)
    hub.add("acme/tuned", FILES | {"config.json": b"tuned", "adapter.bin": os.urandom(100_000)})
    hub.served.clear()
    two = replace(first, repository="acme/tuned", fingerprint="two", directory=f"{request_for.directory}-two")
    await downloaded(two)
    assert "model.gguf" not in {served.path for served in hub.served}
    assert (Path(first.directory) / "model.gguf").samefile(Path(two.directory) / "model.gguf")
    assert WEIGHTS == stored(two)["model.gguf"]


async def test_two_models_with_nine_of_ten_equal_files_cost_eleven_tenths_of_one(
    hub: Hub, request_for: DownloadRequest
) -> None:
    parts = {f"model-{number}.safetensors": os.urandom(100_000) for number in range(10)}
    hub.add("acme/base", parts)
    hub.add("acme/tuned", parts | {"model-9.safetensors": os.urandom(100_000)})
    hub.served.clear()
    root = Path(request_for.directory).parent
    for name in ("base", "tuned"):
        directory, store = str(root / name), str(root / ".arks/store")
        repository = f"acme/{name}"
        await downloaded(
            replace(request_for, repository=repository, fingerprint=name, directory=directory, store=store)
        )
    stored_files = {
        state.st_ino: state.st_size
        for path in root.rglob("*.safetensors")
        if stat.S_ISREG((state := path.lstat()).st_mode)
    }
    assert 1_100_000 == sum(stored_files.values()) == sum(hub.served_bytes.values())


def small_disk(root: Path, total_bytes: int) -> ReadDisk:
    """A disk that holds what is under `root` and nothing else."""

    def read(_: Path) -> Disk:
        found = {
            (state.st_ino): state.st_size for path in root.rglob("*") if stat.S_ISREG((state := path.lstat()).st_mode)
        }
        return Disk(total_bytes, total_bytes - sum(found.values()))

    return read


async def test_a_full_disk_makes_room_from_what_no_model_uses(hub: Hub, request_for: DownloadRequest) -> None:
    """The older content goes first, and none of a model's."""
    root = Path(request_for.directory).parent
    first = replace(request_for, store=str(root / ".arks/store"), reserve_bytes=100_000)
    await downloaded(first)
    for number in (1, 2, 3):
        hub.add(f"acme/n{number}", {"model.gguf": os.urandom(1_000_000)})
    disk = small_disk(root, 3_200_000)
    unused = await downloaded_as(first, "n1", disk)
    shutil.rmtree(unused)
    second = await downloaded_as(first, "n2", disk)
    assert FILES == stored(first)
    third = replace(first, repository="acme/n3", directory=str(root / "n3"))
    failure = await refused(third, disk)
    assert FailureKind.NO_SPACE is failure.kind
    assert "delete a model or enlarge the storage" in str(failure)
    assert (FILES, ["model.gguf"]) == (stored(first), [path.name for path in second.glob("*.gguf")])
    shutil.rmtree(second)
    await downloaded(third, disk)
    assert FILES == stored(first)


async def downloaded_as(request: DownloadRequest, name: str, disk: ReadDisk) -> Path:
    directory = Path(request.directory).parent / name
    await downloaded(replace(request, repository=f"acme/{name}", directory=str(directory)), disk)
    return directory


async def test_a_disk_that_fills_up_during_a_download_keeps_its_reserve(hub: Hub, request_for: DownloadRequest) -> None:
    """Another download, or a log, takes the space after this one has started."""
    sizes = iter([10**9])

    def disk(_: Path) -> Disk:
        return Disk(10**9, next(sizes, 50_000_000))

    failure = await refused(replace(request_for, reserve_bytes=50_000_000), disk)
    assert FailureKind.NO_SPACE is failure.kind
    assert hub.served == []


async def test_the_present_revision_stays_until_the_new_revision_is_whole(
    hub: Hub, request_for: DownloadRequest
) -> None:
    await downloaded(request_for)
    hub.add(MANY, {"config.json": b"{2}", "model.gguf": WEIGHTS[::-1]}, revision="v2")
    hub.faults = [Fault("model.gguf", status=500, times=99)]
    bump = replace(request_for, revision="v2", fingerprint="v2")
    await refused(bump)
    assert FILES == stored(request_for)
    complete = marker.read_complete(Path(request_for.directory))
    assert complete is not None
    assert "fingerprint" == complete.fingerprint
    hub.faults = []
    await downloaded(bump)
    assert {"config.json": b"{2}", "model.gguf": WEIGHTS[::-1]} == stored(request_for)
