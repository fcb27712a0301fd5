"""Rules of storage paths."""

import pytest

from arks.model_manager.domain.storage_path import is_reserved


@pytest.mark.parametrize(
    ("storage_path", "expected"),
    [(".", True), (".removing-x", True), ("a/.arks", True), ("a/b", False), ("a/.removing-x", False)],
)
def test_paths_that_arks_uses_itself_are_reserved(storage_path: str, expected: bool) -> None:
    assert expected is is_reserved(storage_path)
