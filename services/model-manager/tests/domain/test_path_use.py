"""Models that want the same storage."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis.strategies import integers, lists, sampled_from

from arks.kit.key import Key
from arks.model_manager.domain.path_use import Claim, ClaimBook, conflict_of, overlap, users_of
from arks.model_manager.domain.source import Order, SourceKind

HUB = Order(SourceKind.HUB, repository="acme/tiny", endpoint="http://hub")
OTHER = Order(SourceKind.HUB, repository="acme/other", endpoint="http://hub")
STORED = Order(SourceKind.STORED)


def claim(name: str, order: Order, place: str = "shared", age_hours: int = 0) -> Claim:
    return Claim(Key("default", name), place, order, datetime(2026, 1, 1, tzinfo=UTC) - timedelta(hours=age_hours))


def test_models_that_want_the_same_weights_share() -> None:
    assert conflict_of(claim("a", HUB), [claim("a", HUB), claim("b", HUB, age_hours=1)]) is None


def test_of_models_that_want_different_weights_the_oldest_has_the_place() -> None:
    old, young = claim("b", HUB, age_hours=1), claim("a", OTHER)
    assert conflict_of(old, [old, young]) is None
    message = conflict_of(young, [old, young])
    assert message is not None
    assert "ArksModel default/b keeps acme/tiny" in message


def test_of_models_of_one_moment_the_first_by_name_has_the_place() -> None:
    a, b = claim("a", HUB), claim("b", OTHER)
    assert (None, False) == (conflict_of(a, [a, b]), conflict_of(b, [a, b]) is None)


def test_a_place_inside_another_one_is_taken() -> None:
    outer, inner = claim("a", HUB, "x", age_hours=1), claim("b", HUB, "x/y")
    assert conflict_of(inner, [outer, inner]) is not None


def test_a_model_that_only_reads_takes_nothing() -> None:
    reader, writer = claim("a", STORED, age_hours=1), claim("b", HUB)
    assert (None, None) == (conflict_of(reader, [writer]), conflict_of(writer, [reader]))


def test_users_are_all_others_whose_place_overlaps() -> None:
    claims = [claim("a", HUB), claim("b", STORED), claim("c", HUB, "shared/part"), claim("d", HUB, "shared2")]
    assert [Key("default", "b"), Key("default", "c")] == users_of("shared", claims, Key("default", "a"))


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [("a", "a", True), ("a", "a/b", True), ("a/b", "a", True), ("a", "ab", False), ("a/b", "a/c", False)],
)
def test_places_overlap_by_whole_parts(first: str, second: str, expected: bool) -> None:
    assert expected is overlap(first, second)


@given(
    places=lists(lists(sampled_from("ab"), min_size=1, max_size=4).map("/".join), min_size=1, max_size=12),
    gone=lists(integers(0, 11), max_size=6),
)
def test_the_book_finds_exactly_the_claims_that_overlap(places: list[str], gone: list[int]) -> None:
    book, known = ClaimBook(), {}
    for number, place in enumerate(places):
        known[number] = claim(f"m{number:02d}", HUB, place)
        book.put(claim(f"m{number:02d}", HUB, "somewhere/else"))
        book.put(known[number])
    for number in gone:
        if known.pop(number, None) is not None:
            book.drop(Key("default", f"m{number:02d}"))
    for place in places:
        assert [one for one in known.values() if overlap(one.place, place)] == book.near(place)
