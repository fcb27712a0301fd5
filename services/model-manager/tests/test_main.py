"""The whole service with a real NATS, a hub of our own and real download processes."""

import asyncio
import base64
import hashlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from prometheus_client import generate_latest

from arks.contracts.conditions import is_true
from arks.contracts.resources import ArksModel, ModelPhase
from arks.contracts.subjects import EVENTS_STREAM
from arks.kit.key import Key
from arks.kit.process import spawn
from arks.kit.resources import LocalResources
from arks.kit.testing.servers import Server, small_model
from arks.kit.testing.wait import eventually
from arks.model_manager.testing.harness import RunningService, client_of, manifest, running, settings_on
from arks.model_manager.testing.hub import Hub, hub_server

pytestmark = pytest.mark.real

WEIGHTS = b"GGUF" + os.urandom(2_000_000)
FILES = {"README.md": b"# Tiny", "tiny.gguf": WEIGHTS}
TINY = Key("default", "tiny")


@pytest_asyncio.fixture
async def hub() -> AsyncIterator[Hub]:
    async with hub_server() as hub:
        hub.add("acme/tiny", FILES)
        yield hub


def from_hub(hub: Hub, name: str = "tiny", **source: object) -> ArksModel:
    return manifest(name, source={"huggingface": {"endpoint": hub.url, **source}})


def starts(hub: Hub) -> list[int]:
    return [served.start for served in hub.served if served.path == "tiny.gguf"]


async def half_loaded(service: RunningService) -> None:
    async def half() -> bool:
        status = await service.status("tiny")
        return bool(status and status.progress and status.progress.done_bytes > len(WEIGHTS) // 3)

    await eventually(half, within_seconds=90, what="half of the model")


def child_of(parent: int, module: str) -> int:
    """The one child process of `parent` that runs this module."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    (child,) = (child for child in children if module.encode() in Path(f"/proc/{child}/cmdline").read_bytes())
    return int(child)


async def events(service: RunningService) -> list[tuple[str, dict[str, object]]]:
    """Verb and data of every model event so far."""
    found: list[tuple[str, dict[str, object]]] = []
    info = await service.bus.jetstream.stream_info(EVENTS_STREAM)
    for number in range(1, info.state.messages + 1):
        message = await service.bus.jetstream.get_msg(EVENTS_STREAM, number)
        found.append((str(message.subject).split(".")[3], json.loads(message.data or b"{}")))
    return found


async def until_published(service: RunningService, *verbs: str) -> list[dict[str, object]]:
    """The data of these events, once they and no others (but progress) are there: they follow the status."""
    published: list[tuple[str, dict[str, object]]] = []

    async def all_published() -> bool:
        published[:] = await events(service)
        return list(verbs) == [verb for verb, _ in published if verb != "progress"]

    await eventually(all_published, what=f"events {verbs}")
    return [data for _, data in published]


# --- local files


async def test_a_local_file_is_ready_at_once_and_its_fact_names_it(nats: Server, tmp_path: Path) -> None:
    path = small_model()
    async with running(nats, tmp_path) as service:
        await service.models.apply(manifest("smollm2", source={"file": {"path": str(path)}}))
        status = await service.reaches("smollm2", ModelPhase.READY)
        assert all(is_true(status.conditions, type_) for type_ in ("StorageCreated", "ModelLoaded", "Ready"))
        fact = await service.fact("smollm2", lambda fact: fact.ready)
        assert (str(path), path.stat().st_size, 1) == (fact.path, fact.size_bytes, fact.generation)


async def test_a_local_file_with_a_digest_is_hashed_once(nats: Server, tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(WEIGHTS)
    digest = hashlib.sha256(WEIGHTS).hexdigest()
    async with running(nats, tmp_path / "state") as service:
        await service.models.apply(manifest("tiny", source={"file": {"path": str(path), "sha256": digest}}))
        status = await service.reaches("tiny", ModelPhase.READY)
        assert digest == status.sha256
        await until_published(service, "created", "downloading", "ready")
    async with running(nats, tmp_path / "state") as service:
        await service.fact("tiny", lambda fact: fact.ready)
        assert service.registry is not None
        assert b'arks_model_ready{model="tiny",namespace="default"} 1.0' in generate_latest(service.registry)
        assert b"arks_model_download_bytes_total 0.0" in generate_latest(service.registry)
        await until_published(service, "created", "downloading", "ready")


async def test_a_local_file_that_comes_later_recovers_the_model(nats: Server, tmp_path: Path) -> None:
    path = tmp_path / "late.gguf"
    async with running(nats, tmp_path / "state") as service:
        await service.models.apply(manifest("late", source={"file": {"path": str(path)}}))
        status = await service.reaches("late", ModelPhase.FAILED)
        assert f"{path} does not exist on this machine" == status.conditions[-1].message
        path.write_bytes(WEIGHTS)
        await service.reaches("late", ModelPhase.READY)


# --- downloads


async def test_status_and_events_show_a_download_until_it_is_ready(nats: Server, hub: Hub, tmp_path: Path) -> None:
    hub.hold = asyncio.Event()
    async with running(nats, tmp_path) as service:
        await service.models.apply(from_hub(hub))
        await half_loaded(service)
        status = await service.reaches("tiny", ModelPhase.MODEL_LOADING)
        assert status.progress is not None
        assert sum(map(len, FILES.values())) == status.progress.total_bytes
        assert 30 < (status.progress.percent or 0) < 70
        hub.hold.set()
        status = await service.reaches("tiny", ModelPhase.READY)
        fact = await service.fact("tiny", lambda fact: fact.ready)
        assert str(tmp_path / "models" / "default" / "tiny" / "tiny.gguf") == fact.path == status.path
        assert Path(fact.path).read_bytes() == WEIGHTS
        published = await until_published(service, "created", "downloading", "ready")
        progress = [event["download"] for event in published if "download" in event]
        assert any(isinstance(download, dict) and int(download.get("doneBytes", 0)) > 0 for download in progress)


async def test_a_private_model_is_ready_after_its_secret_and_its_token_shows_nowhere(
    nats: Server, hub: Hub, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    token = "hf_T0psecretT0ken"
    hub.add("acme/tiny", FILES, token=token)
    async with running(nats, tmp_path) as service:
        await service.models.apply(from_hub(hub))
        status = await service.reaches("tiny", ModelPhase.FAILED)
        assert "it may be private: no token is named" in status.conditions[-1].message
        await service.models.apply(from_hub(hub, tokenSecretRef="hf"))
        await service.secrets.write(Key("default", "hf"), {"HF_TOKEN": base64.b64encode(token.encode()).decode()})
        status = await service.reaches("tiny", ModelPhase.READY)
        shown = f"{status} {await events(service)} {caplog.text} {capsys.readouterr()}"
        assert token not in shown
        kept = [path for path in (tmp_path / "models").rglob("*") if path.is_file()]
        assert not [path for path in kept if token.encode() in path.read_bytes()]


async def test_a_killed_download_process_is_replaced_and_resumes(nats: Server, hub: Hub, tmp_path: Path) -> None:
    hub.hold = asyncio.Event()
    async with running(nats, tmp_path) as service:
        await service.models.apply(from_hub(hub))
        await half_loaded(service)
        os.kill(child_of(os.getpid(), "arks.model_manager.programs.download"), signal.SIGKILL)
        hub.hold.set()
        await service.reaches("tiny", ModelPhase.READY)
        first, second = starts(hub)
        assert (0, True) == (first, second > len(WEIGHTS) // 3)


async def test_a_restarted_service_resumes_its_download(nats: Server, hub: Hub, tmp_path: Path) -> None:
    hub.hold = asyncio.Event()
    async with running(nats, tmp_path) as service:
        await service.models.apply(from_hub(hub))
        await half_loaded(service)
    hub.hold.set()
    async with running(nats, tmp_path) as service:
        await service.reaches("tiny", ModelPhase.READY)
        assert [False, True] == [start > 0 for start in starts(hub)]
    hub.served.clear()
    async with running(nats, tmp_path) as service:
        await service.fact("tiny", lambda fact: fact.ready)
        assert [] == hub.served


async def test_a_killed_service_ends_its_download_and_the_next_resumes_it(
    nats: Server, hub: Hub, tmp_path: Path
) -> None:
    environment = os.environ | {
        "ARKS_NATS_URL": f"nats://127.0.0.1:{nats.port}",
        "ARKS_STATE_DIR": str(tmp_path),
        "ARKS_DISK_RESERVE_BYTES": "0",
    }
    command = [sys.executable, "-m", "arks.model_manager.main"]
    hub.hold = asyncio.Event()
    service = await spawn(command, log_file=tmp_path / "log", environment=environment)
    async with client_of(settings_on(nats, tmp_path)) as seen:
        await seen.models.apply(from_hub(hub))
        await half_loaded(seen)
        child = child_of(service.pid, "arks.model_manager.programs.download")
        service.kill()
        await service.wait()
        await eventually(lambda: not Path(f"/proc/{child}/exe").exists(), what="end of the download")
        hub.hold.set()
        service = await spawn(command, log_file=tmp_path / "log", environment=environment)
        await seen.reaches("tiny", ModelPhase.READY)
        assert [False, True] == [start > 0 for start in starts(hub)]
        service.terminate()
        assert 0 == await service.wait()


async def test_lost_files_make_a_model_unready_until_they_are_downloaded_again(
    nats: Server, hub: Hub, tmp_path: Path
) -> None:
    async with running(nats, tmp_path) as service:
        await service.models.apply(from_hub(hub))
        path = Path((await service.reaches("tiny", ModelPhase.READY)).path or "")
        hub.hold = asyncio.Event()
        path.write_bytes(b"GGUF")
        await service.fact("tiny", lambda fact: not fact.ready and "has 4 bytes instead of" in fact.message)
        hub.hold.set()
        await service.fact("tiny", lambda fact: fact.ready)
        assert WEIGHTS == path.read_bytes()


async def test_another_revision_is_downloaded_and_shown(nats: Server, hub: Hub, tmp_path: Path) -> None:
    async with running(nats, tmp_path) as service:
        await service.models.apply(from_hub(hub))
        await service.reaches("tiny", ModelPhase.READY)
        commit = hub.add("acme/tiny", {"tiny.gguf": WEIGHTS[:-1]}, revision="v2").commit
        await service.models.apply(from_hub(hub, revision="v2"))
        fact = await service.fact("tiny", lambda fact: fact.ready and fact.generation == 2)
        status = await service.reaches("tiny", ModelPhase.READY)
        assert (commit, 2, len(WEIGHTS) - 1) == (status.revision, status.observed_generation, fact.size_bytes)


async def test_models_of_a_shared_path_download_once_and_the_last_removes_the_files(
    nats: Server, hub: Hub, tmp_path: Path
) -> None:
    shared = tmp_path / "models" / "shared"
    async with running(nats, tmp_path) as service:
        for name in ("one", "two"):
            source = {"huggingface": {"endpoint": hub.url}}
            await service.models.apply(manifest(name, source=source, storage={"subPath": "shared"}))
        for name in ("one", "two"):
            await service.reaches(name, ModelPhase.READY)
        assert [0] == starts(hub)
        await gone(service.models, "one")
        assert shared.is_dir()
        await gone(service.models, "two")
        assert not shared.exists()
        wanted = ["files kept: also used by default/two", "files in shared removed"]

        async def deleted() -> bool:
            return wanted == [event["message"] for verb, event in await events(service) if verb == "deleted"]

        await eventually(deleted, what="both events")


async def gone(models: LocalResources[ArksModel], name: str) -> None:
    key = Key("default", name)
    await models.delete(key)

    async def away() -> bool:
        return await models.read(key) is None

    await eventually(away, what=f"end of {name}")
