"""Names of fields in `-o json` are those of resources, in every command."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

GOLDEN = Path(__file__).parent / "golden"


def names(data: Any) -> set[str]:
    """Of all fields, at any depth."""
    if isinstance(data, list):
        return set().union(*map(names, data)) if data else set()
    if isinstance(data, dict):
        return set(data) | set().union(*map(names, data.values()))
    return set()


@pytest.mark.parametrize("file", ["top-json", "status-json", "get-json-list"])
def test_fields_are_in_camel_case(file: str) -> None:
    found = names(json.loads((GOLDEN / f"{file}.txt").read_text()))
    assert found
    assert set() == {name for name in found if not re.fullmatch("[a-z]+([A-Z][a-z]*)*", name)}
