"""The whole service on a test's NATS, as its users and other services see it."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry

from arks.contracts.resources import ArksModel, ArksModelStatus, ModelPhase
from arks.contracts.subjects import Facts
from arks.events.v1.facts_pb2 import ModelFact
from arks.kit.home import LocalHome
from arks.kit.key import Key
from arks.kit.resources import LocalResources
from arks.kit.testing import run
from arks.kit.testing.servers import Server
from arks.kit.testing.wait import eventually
from arks.model_manager.config import Settings
from arks.model_manager.main import build


class RunningService:
    """A running model-manager, as its users and other services see it."""

    def __init__(self, client: LocalHome, settings: Settings) -> None:
        self.settings = settings
        self.registry: CollectorRegistry | None = None
        """Of the service, if it runs in this process."""
        self.models = LocalResources(client.bus, ArksModel)
        self.facts = client.facts(Facts.MODELS, ModelFact)
        self.bus = client.bus
        self.secrets = client.secrets

    async def status(self, name: str, namespace: str = "default") -> ArksModelStatus | None:
        model = await self.models.read(Key(namespace, name))
        return None if model is None else model.status

    async def reaches(self, name: str, phase: ModelPhase, *, within_seconds: float = 60.0) -> ArksModelStatus:
        async def reached() -> ArksModelStatus | None:
            status = await self.status(name)
            return status if status is not None and status.phase is phase else None

        found = await eventually(reached, within_seconds=within_seconds, what=f"{name} {phase}")
        assert found is not None
        return found

    async def fact(self, name: str, matches: Callable[[ModelFact], bool]) -> ModelFact:
        def matching() -> ModelFact | None:
            fact = self.facts.cache.get(Key("default", name))
            return fact if fact is not None and matches(fact) else None

        found = await eventually(matching, within_seconds=60, what=f"fact of {name}")
        assert found is not None
        return found


def settings_on(nats: Server, state: Path) -> Settings:
    """Settings with short intervals."""
    return Settings(
        nats_url=f"nats://127.0.0.1:{nats.port}",
        state_dir=state,
        drain_seconds=1.0,
        disk_reserve_bytes=0,
        check_seconds=0.2,
        progress_seconds=0.05,
        progress_event_seconds=0.05,
    )


@asynccontextmanager
async def client_of(settings: Settings) -> AsyncIterator[RunningService]:
    """A service that runs in another process, as its users see it."""
    client = LocalHome("test", settings)
    service = RunningService(client, settings)
    async with run.running_home(client):
        yield service


@asynccontextmanager
async def running(nats: Server, state: Path) -> AsyncIterator[RunningService]:
    """Run model-manager on this NATS and state directory; a second run on the same ones is a restart."""
    settings = settings_on(nats, state)
    home = LocalHome("model-manager", settings)
    async with run.running(build(settings, home)), client_of(settings) as service:
        service.registry = home.registry
        yield service


def manifest(name: str, **spec: object) -> ArksModel:
    """An ArksModel as a user would write it."""
    return ArksModel.from_dict(
        {
            "apiVersion": "arks.ai/v1",
            "kind": "ArksModel",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"model": "acme/tiny", **spec},
        }
    )
