"""What all of metering works on."""

from dataclasses import dataclass

from arks.kit.clock import Clock
from arks.token_quota.domain.time import Moment
from arks.token_quota.service.index import Index
from arks.token_quota.service.ports.counters import Counters
from arks.token_quota.service.ports.ledger import Ledger
from arks.token_quota.service.ports.metrics import Metrics

RETRY_SECONDS = 0.5
"""Between attempts while the ledger or Redis is away."""


@dataclass(frozen=True, slots=True)
class MeteringContext:
    index: Index
    counters: Counters
    ledger: Ledger
    metrics: Metrics
    clock: Clock

    def now(self) -> Moment:
        return Moment.of(self.clock.now())
