from hypothesis import given
from hypothesis import strategies as st

from arks.token_quota.domain.recent_changes import MARGIN_SECONDS, MAX_LISTED, RecentChanges


def test_changes_are_listed_once_and_those_of_the_margin_again() -> None:
    recent = RecentChanges(0.0)
    for now, subject in ((100.0, "b"), (101.0, "a"), (101.5, "b")):
        recent.add(subject, now)
    assert ["a", "b"] == recent.since(0.5, 102.0)
    assert ["b"] == recent.since(0.5, 103.9)
    assert [] == recent.since(0.5, 104.1)


def test_what_changed_before_the_start_is_unknown() -> None:
    recent = RecentChanges(100.0)
    assert recent.since(1.0, 100.0 + MARGIN_SECONDS) is None
    assert [] == recent.since(1.0, 101.0 + MARGIN_SECONDS)


def test_too_many_changes_are_all() -> None:
    recent = RecentChanges(0.0)
    for number in range(MAX_LISTED):
        recent.add(str(number), 100.0)
    assert MAX_LISTED == len(recent.since(1.0, 100.0) or ())
    recent.add("one more", 100.0)
    assert recent.since(1.0, 100.0) is None


@given(st.lists(st.tuples(st.floats(0, 2), st.integers(0, 50)), max_size=1500), st.floats(0, 100), st.floats(0, 100))
def test_no_change_is_missed(steps: list[tuple[float, int]], seconds: float, later: float) -> None:
    now, recent, added = 50.0, RecentChanges(0.0), []
    for pause, number in steps:
        now += pause
        recent.add(str(number), now)
        added.append((now, str(number)))
    now += later
    found = recent.since(seconds, now)
    assert found is None or {subject for time, subject in added if time >= now - seconds} <= set(found)
