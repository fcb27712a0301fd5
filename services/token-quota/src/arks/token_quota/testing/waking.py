"""For tests: endpoints that no autoscaler scales, a bus that keeps what is published, and engines' load."""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from arks.events.v1.facts_pb2 import EndpointFact
from arks.events.v1.load_pb2 import LoadReport
from arks.kit.cache import Cache
from arks.kit.key import Key
from arks.token_quota.domain.holding import Bounds
from arks.token_quota.service.holding import Holding
from arks.token_quota.service.waking import Waking


@dataclass
class KeptMessages:
    published: list[tuple[str, bytes]] = field(default_factory=list)

    async def publish(self, subject: str, payload: bytes) -> None:
        self.published.append((subject, payload))


@dataclass
class FakeLoads:
    """Gives the reports that a test sends to the followers of their applications."""

    followers: dict[Key, Callable[[LoadReport], None]] = field(default_factory=dict)

    @asynccontextmanager
    async def follow(self, applications: Iterable[Key], take: Callable[[LoadReport], None]) -> AsyncIterator[None]:
        followed = dict.fromkeys(applications, take)
        self.followers |= followed
        try:
            yield
        finally:
            for key in followed:
                del self.followers[key]

    def send(self, report: LoadReport) -> None:
        self.followers[Key(report.namespace, report.application)](report)


def holding(
    endpoints: Cache[EndpointFact] | None = None,
    loads: FakeLoads | None = None,
    publisher: KeptMessages | None = None,
    *,
    bounds: Bounds | None = None,
    seconds: float = 60.0,
) -> Holding:
    """By default of endpoints that never become ready."""
    return Holding(
        Cache() if endpoints is None else endpoints,
        FakeLoads() if loads is None else loads,
        KeptMessages() if publisher is None else publisher,
        holder="here",
        bounds=bounds or Bounds(),
        seconds=seconds,
    )


def no_waking() -> Waking:
    return Waking(Cache(), KeptMessages())
