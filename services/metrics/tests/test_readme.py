"""Statements of the README that operators act on."""

import re
from pathlib import Path

from arks.metrics.domain.idle import LONGEST_SECONDS

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_the_alert_on_missing_reports_does_not_fire_for_idle_applications() -> None:
    found = re.search(r"rate\(arks_metrics_reports_total\[(\d+)m\]\) == 0", README)
    assert found is not None
    assert int(found[1]) * 60 >= 2 * LONGEST_SECONDS
