"""The whole service with a real NATS: sources that need no hub."""

import hashlib
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from arks.contracts.conditions import is_true
from arks.contracts.resources import ModelPhase
from arks.kit.testing.servers import Server, small_model
from arks.model_manager.testing.harness import manifest, running

pytestmark = pytest.mark.real


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
    path.write_bytes(b"GGUF" + bytes(100_000))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    async with running(nats, tmp_path / "state") as service:
        await service.models.apply(manifest("tiny", source={"file": {"path": str(path), "sha256": digest}}))
        status = await service.reaches("tiny", ModelPhase.READY)
        assert digest == status.sha256
    async with running(nats, tmp_path / "state") as service:
        await service.fact("tiny", lambda fact: fact.ready)
        assert b"arks_model_download_bytes_total 0.0" in generate_latest(service.home.registry)
