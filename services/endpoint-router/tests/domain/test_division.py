"""Shares between groups by capacity."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arks.endpoint_router.domain.native import PROBE_PART, divide

TABLE = [(48, 16 / 0.175), (4, 16 / 0.7)]
"""Three replicas of 16 slots x 175 ms, and one of 4 slots x 700 ms."""

groups = st.lists(st.tuples(st.integers(1, 256), st.floats(0.01, 100.0)), min_size=2, max_size=6)
utilisations = st.floats(0.0, 2.0)


@pytest.mark.parametrize(("utilisation", "least", "most"), [(0.5, 0, 0.3), (0.91, 1.1, 1.3), (0.98, 1.7, 2.1)])
def test_the_slow_group_of_the_measured_table_gets_the_share_that_was_best(
    utilisation: float, least: float, most: float
) -> None:
    assert least <= 100 * divide(TABLE, utilisation)[1] <= most


def test_one_server_each_follows_the_square_root_rule_where_only_waiting_counts() -> None:
    """Spare capacity in proportion to the square root of capacity, at a load at which service times hardly count."""
    fast, slow = divide([(1, 4.0), (1, 1.0)], 0.95)
    spare = 5 * 0.05
    assert (4 - spare * 2 / 3, 1 - spare / 3) == pytest.approx((5 * 0.95 * fast, 5 * 0.95 * slow), rel=0.02)


@given(groups, utilisations)
def test_shares_add_up_and_every_group_is_probed(found: list[tuple[int, float]], utilisation: float) -> None:
    shares = divide(found, utilisation)
    whole = sum(slots * speed for slots, speed in found)
    assert math.isclose(1.0, math.fsum(shares))
    for share, (slots, speed) in zip(shares, found, strict=True):
        assert share >= 0.8 * PROBE_PART * slots * speed / whole


@given(groups, utilisations, st.integers(1, 64))
def test_a_group_with_more_slots_never_gets_less(found: list[tuple[int, float]], utilisation: float, more: int) -> None:
    (slots, speed), *others = found
    assert divide(found, utilisation)[0] <= divide([(slots + more, speed), *others], utilisation)[0] + 1e-3


@given(groups, utilisations)
def test_the_slower_of_two_groups_with_as_many_slots_gets_no_more(
    found: list[tuple[int, float]], utilisation: float
) -> None:
    (slots, speed), *others = found
    faster, slower, *_ = divide([(slots, speed * 1.3), (slots, speed), *others], utilisation)
    assert slower <= faster + 1e-6
