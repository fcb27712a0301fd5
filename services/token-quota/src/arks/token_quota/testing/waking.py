"""For tests: endpoints that no autoscaler scales, and a bus that keeps what is published."""

from dataclasses import dataclass, field

from arks.kit.cache import Cache
from arks.token_quota.service.waking import Waking


@dataclass
class KeptMessages:
    published: list[tuple[str, bytes]] = field(default_factory=list)

    async def publish(self, subject: str, payload: bytes) -> None:
        self.published.append((subject, payload))


def no_waking() -> Waking:
    return Waking(Cache(), KeptMessages())
