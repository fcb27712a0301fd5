"""Models that use the same storage path."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis.strategies import integers, lists, sampled_from

from arks.kit.key import Key
from arks.model_manager.domain.path_use import PathUse, PathUses, conflict_of, other_users
from arks.model_manager.domain.source_kind import SourceKind
from arks.model_manager.domain.storage_path import overlap
from arks.model_manager.domain.weights_source import WeightsSource

HUB = WeightsSource(SourceKind.HUB, repository="acme/tiny", endpoint="http://hub")
OTHER = WeightsSource(SourceKind.HUB, repository="acme/other", endpoint="http://hub")
STORED = WeightsSource(SourceKind.STORED)


def path_use(name: str, source: WeightsSource, storage_path: str = "shared", age_hours: int = 0) -> PathUse:
    return PathUse(
        Key("default", name), storage_path, source, datetime(2026, 1, 1, tzinfo=UTC) - timedelta(hours=age_hours)
    )


def test_models_with_the_same_weights_share_a_path() -> None:
    assert conflict_of(path_use("a", HUB), [path_use("a", HUB), path_use("b", HUB, age_hours=1)]) is None


def test_the_oldest_of_models_with_different_weights_owns_the_path() -> None:
    old, young = path_use("b", HUB, age_hours=1), path_use("a", OTHER)
    assert conflict_of(old, [old, young]) is None
    message = conflict_of(young, [old, young])
    assert message is not None
    assert "ArksModel default/b keeps acme/tiny" in message


def test_the_first_by_name_of_models_of_the_same_age_owns_the_path() -> None:
    a, b = path_use("a", HUB), path_use("b", OTHER)
    assert (None, False) == (conflict_of(a, [a, b]), conflict_of(b, [a, b]) is None)


def test_a_path_inside_another_path_is_taken() -> None:
    outer, inner = path_use("a", HUB, "x", age_hours=1), path_use("b", HUB, "x/y")
    assert conflict_of(inner, [outer, inner]) is not None


def test_a_model_that_only_reads_never_conflicts() -> None:
    reader, writer = path_use("a", STORED, age_hours=1), path_use("b", HUB)
    assert (None, None) == (conflict_of(reader, [writer]), conflict_of(writer, [reader]))


def test_other_users_are_the_models_of_overlapping_paths() -> None:
    uses = [path_use("a", HUB), path_use("b", STORED), path_use("c", HUB, "shared/part"), path_use("d", HUB, "shared2")]
    assert [Key("default", "b"), Key("default", "c")] == other_users("shared", uses, Key("default", "a"))


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [("a", "a", True), ("a", "a/b", True), ("a/b", "a", True), ("a", "ab", False), ("a/b", "a/c", False)],
)
def test_paths_overlap_by_whole_parts(first: str, second: str, expected: bool) -> None:
    assert expected is overlap(first, second)


@given(
    storage_paths=lists(lists(sampled_from("ab"), min_size=1, max_size=4).map("/".join), min_size=1, max_size=12),
    gone=lists(integers(0, 11), max_size=6),
)
def test_the_index_finds_exactly_the_overlapping_uses(storage_paths: list[str], gone: list[int]) -> None:
    uses, known = PathUses(), {}
    for number, storage_path in enumerate(storage_paths):
        known[number] = path_use(f"m{number:02d}", HUB, storage_path)
        uses.put(path_use(f"m{number:02d}", HUB, "somewhere/else"))
        uses.put(known[number])
    for number in gone:
        if known.pop(number, None) is not None:
            uses.drop(Key("default", f"m{number:02d}"))
    for storage_path in storage_paths:
        assert [use for use in known.values() if overlap(use.storage_path, storage_path)] == uses.overlapping(
            storage_path
        )
