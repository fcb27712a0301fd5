"""Admission over any counters, without anything that waits for an engine."""

from arks.kit.testing.clock import FakeClock
from arks.token_quota.service.admission import Admission
from arks.token_quota.service.ports.counters import Counters
from arks.token_quota.service.ports.ledger import Ledger
from arks.token_quota.testing.fakes import Harness
from arks.token_quota.testing.waking import holding, no_waking


def make_admission(harness: Harness, counters: Counters, ledger: Ledger, clock: FakeClock) -> Admission:
    return Admission(
        harness.index,
        counters,
        ledger,
        harness.metrics,
        clock=clock,
        default_completion_tokens=512,
        waking=no_waking(),
        holding=holding(),
    )
