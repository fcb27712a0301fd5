"""The worker program: files that it writes, its reports and its outcome."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from arks.kit.testing.wait import eventually
from arks.model_manager.domain.failures import FailureKind
from arks.model_manager.domain.protocol import Found, Outcome, outcome_from_json
from arks.model_manager.testing.hub import Hub, hub_server

pytestmark = pytest.mark.real

WEIGHTS = b"GGUF" + os.urandom(300_000)
FILES = {"README.md": b"# Tiny", "tiny.gguf": WEIGHTS}


class Worker:
    """The program, as a pod would start it."""

    def __init__(self, root: Path) -> None:
        self.directory = root / "models/default/tiny"
        self.result = root / "termination-log"
        self.log = b""
        self.status: int | None = None

    async def start(self, *arguments: str, **environment: str) -> asyncio.subprocess.Process:
        self.result.unlink(missing_ok=True)
        return await asyncio.create_subprocess_exec(
            *(
                sys.executable,
                "-m",
                "arks.model_manager.programs.worker",
                f"--result={self.result}",
                "--fingerprint=f",
                *arguments,
            ),
            env={
                "PATH": os.environ["PATH"],
                "MODEL_NAME": "acme/tiny",
                "MODEL_PATH": str(self.directory),
                **environment,
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )

    async def run(self, *arguments: str, **environment: str) -> Outcome:
        process = await self.start(*arguments, **environment)
        self.log, _ = await process.communicate()
        self.status = process.returncode
        return outcome_from_json(self.result.read_text())


@pytest_asyncio.fixture
async def hub() -> AsyncIterator[Hub]:
    async with hub_server() as hub:
        hub.add("acme/tiny", FILES)
        yield hub


@pytest.fixture
def worker(tmp_path: Path) -> Worker:
    return Worker(tmp_path)


async def test_a_worker_downloads_a_model_and_reports_what_engines_load(worker: Worker, hub: Hub) -> None:
    outcome = await worker.run(f"--endpoint={hub.url}")
    commit = hub.repositories["acme/tiny"][0].commit
    assert Found("tiny.gguf", len(WEIGHTS) + 6, 2, commit) == outcome.found
    assert (0, True) == (worker.status, outcome.report.done)
    assert WEIGHTS == (worker.directory / "tiny.gguf").read_bytes()
    assert {"done_bytes", "total_bytes"} <= json.loads(worker.log.splitlines()[-1]).keys()


async def test_complete_weights_need_no_hub(worker: Worker, hub: Hub) -> None:
    first = await worker.run(f"--endpoint={hub.url}")
    second = await worker.run("--endpoint=http://127.0.0.1:1")
    assert first.found == second.found
    assert second.report.done


async def test_a_missing_file_is_downloaded_again(worker: Worker, hub: Hub) -> None:
    await worker.run(f"--endpoint={hub.url}")
    (worker.directory / "README.md").unlink()
    outcome = await worker.run(f"--endpoint={hub.url}")
    assert outcome.found is not None
    assert 2 == outcome.found.file_count
    assert ["README.md"] == [served.path for served in hub.served[-1:]]


async def test_patterns_choose_files(worker: Worker, hub: Hub) -> None:
    outcome = await worker.run(f"--endpoint={hub.url}", "--allow=*.md", "--allow=*.gguf", "--ignore=R*")
    assert outcome.found is not None
    assert ("tiny.gguf", 1) == (outcome.found.file, outcome.found.file_count)


async def test_a_private_model_needs_the_token_of_the_environment(worker: Worker, hub: Hub) -> None:
    hub.add("acme/tiny", FILES, token="hf_right")
    refused = await worker.run(f"--endpoint={hub.url}")
    assert (FailureKind.DENIED, 1) == (refused.report.failure, worker.status)
    loaded = await worker.run(f"--endpoint={hub.url}", HF_TOKEN="hf_right\n")
    assert loaded.report.done
    assert b"hf_right" not in worker.log


async def test_weights_of_a_user_are_found_or_reported_missing(worker: Worker) -> None:
    missing = await worker.run("--stored")
    assert (FailureKind.STORAGE, 1) == (missing.report.failure, worker.status)
    assert f"{worker.directory} does not exist" in missing.report.message
    worker.directory.mkdir(parents=True)
    empty = await worker.run("--stored")
    assert "is empty" in empty.report.message
    (worker.directory / "x.gguf").write_bytes(WEIGHTS)
    there = await worker.run("--stored")
    assert Found("x.gguf", len(WEIGHTS), 1) == there.found


async def test_unwritable_storage_is_named(worker: Worker, hub: Hub) -> None:
    worker.directory.parent.parent.mkdir(parents=True)
    worker.directory.parent.write_text("a file where a directory should be")
    outcome = await worker.run(f"--endpoint={hub.url}")
    assert FailureKind.STORAGE is outcome.report.failure
    assert str(worker.directory) in outcome.report.message


async def test_sigterm_ends_a_worker_at_once(worker: Worker, hub: Hub) -> None:
    hub.hold = asyncio.Event()
    process = await worker.start(f"--endpoint={hub.url}")
    await eventually(lambda: bool(hub.served), what="a download under way")
    process.terminate()
    assert 143 == await asyncio.wait_for(process.wait(), 30)
    hub.hold.set()
