"""New requests away from queues."""

import math
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arks.endpoint_router.domain.native import divide, relieve


class Part(NamedTuple):
    """A group."""

    share: float
    proportion: float
    waiting: float = 0.0
    free: float = 0.0


waiting = st.just(0.0) | st.floats(0, 500)


@st.composite
def parts(draw: st.DrawFn) -> list[Part]:
    groups = draw(st.lists(st.tuples(st.integers(1, 64), st.floats(0.05, 20.0)), min_size=2, max_size=5))
    whole = math.fsum(slots * speed for slots, speed in groups)
    shares = divide(groups, draw(st.floats(0.3, 1.0)))
    return [
        Part(share, slots * speed / whole, draw(waiting), draw(st.floats(0, slots)))
        for share, (slots, speed) in zip(shares, groups, strict=True)
    ]


@given(parts(), st.floats(0, 1), st.floats(0, 1_000))
def test_shares_are_conserved_and_none_is_lost(found: list[Part], utilisation: float, arrivals: float) -> None:
    shares = relieve(found, utilisation, arrivals)
    assert math.isclose(1.0, math.fsum(shares), abs_tol=1e-6)
    assert all(share > 0 for share in shares)


@given(parts(), st.floats(0, 1), st.floats(1, 1_000), st.floats(0.1, 50), st.data())
def test_a_longer_queue_never_raises_a_share(
    found: list[Part], utilisation: float, arrivals: float, more: float, data: st.DataObject
) -> None:
    number = data.draw(st.integers(0, len(found) - 1))
    longer = [part._replace(waiting=part.waiting + more) if each == number else part for each, part in enumerate(found)]
    before, after = (relieve(each, utilisation, arrivals)[number] for each in (found, longer))
    assert after <= before + 1e-6


@given(parts(), st.floats(0, 1), st.floats(1, 1_000))
def test_what_moves_is_never_more_than_what_waits(found: list[Part], utilisation: float, arrivals: float) -> None:
    moved = [part.share - share for part, share in zip(found, relieve(found, utilisation, arrivals), strict=True)]
    for part, less in zip(found, moved, strict=True):
        assert less * arrivals <= part.waiting + 1e-6


def test_a_queue_goes_to_free_slots_first_and_not_past_a_groups_capacity() -> None:
    queued, free, slow = Part(0.6, 0.5, waiting=6), Part(0.35, 0.4, free=20), Part(0.05, 0.1, free=1)
    assert [0.54, 0.4056, 0.0544] == pytest.approx(relieve([queued, free, slow], 0.8, 100), abs=1e-4)
    assert 0.38 == pytest.approx(relieve([queued, free, slow], 0.999, 100)[1], abs=0.01)


def test_without_free_slots_queues_become_equally_long_in_time() -> None:
    shares = relieve([Part(0.8, 0.8, waiting=10), Part(0.2, 0.2)], 1.0, 100)
    assert [0.78, 0.22] == pytest.approx(shares)
    assert [0.8, 0.2] == pytest.approx(relieve([Part(0.8, 0.8, waiting=80), Part(0.2, 0.2, waiting=20)], 1.0, 100))


def test_a_request_that_waits_at_a_small_group_does_not_take_its_share_away() -> None:
    assert 0.11 == pytest.approx(relieve([Part(0.88, 0.88, free=6), Part(0.12, 0.12, waiting=1)], 0.9, 100)[1])
