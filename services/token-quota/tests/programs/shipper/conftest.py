"""A shipper for each test."""

from pathlib import Path

import pytest

from arks.kit.backoff import Backoff
from arks.kit.testing.clock import FakeClock
from arks.token_quota.programs.shipper import ship
from arks.token_quota.testing.shipper import ShipperHarness


@pytest.fixture
def harness(tmp_path: Path, clock: FakeClock) -> ShipperHarness:
    return ShipperHarness(tmp_path, clock)


@pytest.fixture(autouse=True)
def short_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ship, "BACKOFF", Backoff(0.0, 0.0))
