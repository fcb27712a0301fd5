from datetime import date

import pytest

from arks.local.cli.failure import Failure
from arks.local.cli.usage import _days

TODAY = date(2026, 3, 15)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((None, None, None), (None, None)),
        (("2026-01-01", "2026-01-31", None), ("2026-01-01", "2026-01-31")),
        (("7d", None, None), ("2026-03-09", None)),
        ((None, None, "2026-02"), ("2026-02-01", "2026-02-28")),
        ((None, None, "2026-12"), ("2026-12-01", "2026-12-31")),
    ],
)
def test_a_period_is_in_whole_days(
    given: tuple[str | None, str | None, str | None], expected: tuple[str | None, str | None]
) -> None:
    assert expected == _days(*given, TODAY)


def test_a_month_and_days_together_are_rejected() -> None:
    with pytest.raises(Failure, match="either --month or"):
        _days("7d", None, "2026-02", TODAY)
