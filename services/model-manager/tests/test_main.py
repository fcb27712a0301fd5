"""The whole service with a real NATS: sources that need no hub."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from arks.contracts.conditions import is_true
from arks.contracts.resources import ArksModel, ModelPhase
from arks.kit.reconcile import Key
from arks.kit.testing.servers import small_model
from arks.kit.testing.wait import eventually

pytestmark = pytest.mark.real
Model = Callable[..., ArksModel]


async def test_a_local_file_is_ready_at_once_and_its_fact_names_it(start, model: Model) -> None:  # type: ignore[no-untyped-def]
    path = small_model()
    async with start() as running:
        await running.models.apply(model("smollm2", source={"file": {"path": str(path)}}))
        status = await running.reaches("smollm2", ModelPhase.READY)
        assert all(is_true(status.conditions, type_) for type_ in ("StorageCreated", "ModelLoaded", "Ready"))
        fact = await running.fact("smollm2", lambda fact: fact.ready)
        assert (str(path), path.stat().st_size, 1) == (fact.path, fact.size_bytes, fact.generation)


async def test_a_local_file_with_a_digest_is_hashed_once(start, model: Model, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "tiny.gguf"
    path.write_bytes(b"GGUF" + bytes(100_000))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    async with start() as running:
        await running.models.apply(model("tiny", source={"file": {"path": str(path), "sha256": digest}}))
        status = await running.reaches("tiny", ModelPhase.READY)
        assert digest == status.sha256
    async with start() as running:
        await running.fact("tiny", lambda fact: fact.ready)
        assert b"arks_model_download_bytes_total 0.0" in await metrics(running)


async def metrics(running) -> bytes:  # type: ignore[no-untyped-def]
    from prometheus_client import generate_latest

    return generate_latest(running.home.registry)
