from hypothesis import given
from hypothesis import strategies as st

from arks.kit.key import Key
from arks.token_quota.domain.recent_changes import MARGIN_SECONDS, MAX_LISTED, RecentChanges


def add(recent: RecentChanges, name: str, now: float, namespace: str = "team") -> None:
    recent.add("token", Key(namespace, name), now)


def test_changes_are_listed_once_and_those_of_the_margin_again() -> None:
    recent = RecentChanges(0.0)
    for now, name in ((100.0, "b"), (101.0, "a"), (101.5, "b")):
        add(recent, name, now)
    recent.add("endpoint", Key("other", "c"), 101.0)
    assert ["endpoint:other/c", "token:team/a", "token:team/b"] == recent.since(0.5, 102.0)
    add(recent, "d", 103.0)
    assert ["token:team/b", "token:team/d"] == recent.since(0.5, 103.9)
    assert ["token:team/d"] == recent.since(0.5, 104.1)
    assert [] == recent.since(0.5, 105.6)


def test_what_changed_before_the_start_is_unknown() -> None:
    recent = RecentChanges(100.0)
    assert recent.since(1.0, 100.0 + MARGIN_SECONDS) is None
    assert [] == recent.since(1.0, 101.0 + MARGIN_SECONDS)


def test_a_namespace_with_too_many_changes_is_listed_as_a_whole() -> None:
    recent = RecentChanges(0.0)
    add(recent, "calm", 100.0, "other")
    for number in range(MAX_LISTED * 20):  # more than may be kept of one namespace
        add(recent, str(number), 100.0)
    assert ["namespace:team", "token:other/calm"] == recent.since(1.0, 100.0)
    add(recent, "late", 110.0)
    assert ["token:team/late"] == recent.since(1.0, 110.0)


def test_namespaces_with_the_most_changes_are_listed_as_a_whole_when_all_together_are_too_many() -> None:
    recent = RecentChanges(0.0)
    for namespace, changes in (("busy", MAX_LISTED - 10), ("calm", 11)):
        for number in range(changes):
            add(recent, str(number), 100.0, namespace)
    found = recent.since(1.0, 100.0) or []
    assert ["namespace:busy"] == [subject for subject in found if not subject.startswith("token:calm/")]
    assert 12 == len(found)


def test_changes_in_too_many_namespaces_are_all() -> None:
    recent = RecentChanges(0.0)
    for number in range(MAX_LISTED):
        add(recent, "tom", 100.0, f"team-{number}")
    assert MAX_LISTED == len(recent.since(1.0, 100.0) or ())
    add(recent, "tom", 100.0, "one-more")
    assert recent.since(1.0, 100.0) is None


CHANGES = st.lists(st.tuples(st.floats(0, 2), st.integers(0, 3), st.integers(0, 150)), max_size=1500)


@given(CHANGES, st.floats(0, 100), st.floats(0, 100))
def test_no_change_is_missed(steps: list[tuple[float, int, int]], seconds: float, later: float) -> None:
    now, recent, added = 50.0, RecentChanges(0.0), []
    for pause, namespace, number in steps:
        now += pause
        add(recent, str(number), now, str(namespace))
        added.append((now, str(namespace), f"token:{namespace}/{number}"))
    now += later
    found = recent.since(seconds, now)
    for time, changed, subject in added:
        assert found is None or time < now - seconds or {subject, f"namespace:{changed}"} & set(found)
