"""YAML is read as kubectl reads it."""

import json
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from arks.local.manifests.reader import read_documents


def read(text: str) -> Any:
    [document] = read_documents(text)
    assert [] == document.problems
    return document.data


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z"),
        ("2026-01-31", "2026-01-31"),
        ("1:30", "1:30"),
        ("1:30.5", "1:30.5"),
        ("010", 8),
        ("0x1F", 31),
        ("-0x1F", -31),
        ("0b11", 3),
        ("1_000", 1000),
        ("-7", -7),
        ("0", 0),
        ("1.5", 1.5),
        ("yes", True),
        ("off", False),
        ("~", None),
        ("'7'", "7"),
        ("9" * 5000, "9" * 5000),
        ("=", "="),
    ],
)
def test_a_scalar_is_read_as(text: str, expected: object) -> None:
    assert {"a": expected} == read(f"a: {text}")


def test_empty_documents_hold_nothing() -> None:
    assert [None, {"a": 1}, None] == [document.data for document in read_documents("---\n---\na: 1\n---\n")]
    assert [] == list(read_documents("# only a comment"))


def test_aliases_and_merged_mappings_are_written_out() -> None:
    text = "base: &base {a: 1, b: 2}\nuse: {<<: *base, b: 3}\nboth: {<<: [*base, {c: 4}]}"
    data = read(text)
    assert {"a": 1, "b": 3} == data["use"]
    assert {"a": 1, "b": 2, "c": 4} == data["both"]


def test_each_field_knows_its_line() -> None:
    [document] = read_documents("a:\n  b:\n  - c: 1\n  - d:\n      e: 2\n")
    assert 5 == document.line(("a", "b", 1, "d", "e"))
    assert 4 == document.line(("a", "b", 1, "x"))


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"))),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc-/.", min_size=1), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(plain)
@settings(max_examples=100)
def test_json_is_read_as_json_reads_it(value: Any) -> None:
    assert {"a": value} == read(json.dumps({"a": value}))


@given(plain)
@settings(max_examples=100)
def test_what_yaml_writes_is_read_back(value: Any) -> None:
    assert {"a": value} == read(yaml.safe_dump({"a": value}, allow_unicode=True))


@given(st.text(max_size=200))
@settings(max_examples=200)
def test_no_text_makes_reading_fail(text: str) -> None:
    for document in read_documents(text):
        assert all(problem.message for problem in document.problems)
