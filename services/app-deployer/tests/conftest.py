"""A running app-deployer on the test's NATS, and what a test needs to look at it."""

import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest_asyncio

from arks.app_deployer.config import Settings
from arks.app_deployer.main import build
from arks.contracts.resources import ArksApplication, ArksApplicationStatus, InstanceStatus
from arks.contracts.subjects import Facts
from arks.events.v1.facts_pb2 import ModelFact, ReplicasFact
from arks.kit.home import LocalHome
from arks.kit.key import Key
from arks.kit.resources import LocalResources
from arks.kit.testing.run import running, running_home
from arks.kit.testing.servers import Server, small_model
from arks.kit.testing.wait import eventually

APP = Key("default", "app")
MODEL = Key("default", "smollm2")


class ServiceHarness:
    """app-deployer in this process, its neighbours played by the test."""

    def __init__(self, nats: Server, directory: Path) -> None:
        self.engines = directory / "engines"
        self.settings = Settings(
            nats_url=f"nats://127.0.0.1:{nats.port}",
            state_dir=directory,
            drain_seconds=1.0,
            supervisor_pid=os.getpid(),
            probe_seconds=0.02,
            backoff_first_seconds=0.05,
            backoff_longest_seconds=0.2,
            drain_settle_seconds=0.2,
            health_seconds=5.0,
            engine_slots=2,
        )
        self.people = LocalHome("people", self.settings)
        self.applications = LocalResources(self.people.bus, ArksApplication)
        self.replicas = self.people.facts(Facts.REPLICAS, ReplicasFact).cache
        self._models = self.people.fact_writer(Facts.MODELS, ModelFact)
        self._neighbours, self._service = AsyncExitStack(), AsyncExitStack()
        self.home = self.people

    # --- life

    async def open(self) -> None:
        await self._neighbours.enter_async_context(running_home(self.people))

    async def start(self, **changes: object) -> None:
        settings = self.settings.model_copy(update=changes)
        self.home = LocalHome("app-deployer", settings)
        await self._service.enter_async_context(running(build(settings, self.home, os.environ)))

    async def stop(self) -> None:
        """The service ends; engines go on."""
        await self._service.aclose()

    async def close(self) -> None:
        await self.stop()
        await self._neighbours.aclose()
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await eventually(lambda: not self.processes(), what="no engine left")

    # --- people and neighbours

    async def apply(self, name: str = "app", **spec: Any) -> None:
        desired = {"runtime": "llamacpp", "replicas": 1, "model": {"name": "smollm2"}, "instanceSpec": {}} | spec
        manifest = {"apiVersion": "arks.ai/v1", "kind": "ArksApplication", "metadata": {"name": name}, "spec": desired}
        await self.applications.apply(ArksApplication.from_dict(manifest))

    def model(self, path: Path | None = None, **fields: Any) -> None:
        reported: dict[str, Any] = {"ready": True, "path": str(path or small_model()), "generation": 1} | fields
        self._models.put(MODEL, ModelFact(namespace=MODEL.namespace, name=MODEL.name, **reported))

    def no_model(self) -> None:
        self._models.remove(MODEL)

    # --- what is seen

    async def status(self, key: Key = APP) -> ArksApplicationStatus | None:
        application = await self.applications.read(key)
        return application.status if application else None

    async def until(
        self, condition: Callable[[ArksApplicationStatus], bool], *, what: str, within_seconds: float = 60.0
    ) -> ArksApplicationStatus:
        async def met() -> ArksApplicationStatus | None:
            status = await self.status()
            return status if status is not None and condition(status) else None

        found = await eventually(met, within_seconds=within_seconds, what=what)
        assert found is not None
        return found

    async def until_ready(self, replicas: int) -> list[InstanceStatus]:
        status = await self.until(
            lambda status: [item.state for item in status.instances] == ["Ready"] * replicas, what=f"{replicas} ready"
        )
        return status.instances

    def processes(self) -> list[int]:
        """Shims and engines: all processes that run in the directories of engines."""
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and _belongs(entry, str(self.engines)):
                    found.append(int(entry.name))
        return found


def _belongs(process: Path, directory: str) -> bool:
    shim = directory.encode() in (process / "cmdline").read_bytes()
    return shim or str((process / "cwd").readlink()).startswith(directory)


@pytest_asyncio.fixture
async def deployer(nats: Server, tmp_path: Path) -> AsyncIterator[ServiceHarness]:
    """Not started: the test starts it. The model is there."""
    deployer = ServiceHarness(nats, tmp_path / "state")
    await deployer.open()
    deployer.model()
    yield deployer
    await deployer.close()
