"""What all of metering works on."""

from dataclasses import dataclass

from arks.kit.clock import Clock
from arks.token_quota.domain.time import Moment
from arks.token_quota.service.budgets import Budgets
from arks.token_quota.service.metering.charged_quotas import ChargedQuotas
from arks.token_quota.service.ports.counters import Counters
from arks.token_quota.service.ports.ledger import Ledger
from arks.token_quota.service.ports.metrics import MeteringMetrics

RETRY_SECONDS = 0.5
"""Between attempts while the ledger or Redis is away."""


@dataclass(frozen=True, slots=True)
class MeteringContext:
    charged_quotas: ChargedQuotas
    budgets: Budgets
    counters: Counters
    ledger: Ledger
    metrics: MeteringMetrics
    clock: Clock

    def now(self) -> Moment:
        return Moment.of(self.clock.now())
