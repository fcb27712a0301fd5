"""A real API server refuses the mistakes that the library of contracts refuses, and names the field or the rule."""

import re
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import yaml

pytestmark = [pytest.mark.kube, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]
MISTAKES = Path(__file__).parents[3] / "libs/contracts/tests/mistakes.yaml"
NAMELESS = {"no metadata", "no name"}
"""kubectl asks the API server by name before it applies, so that its own words come first."""
CASES = [
    case for case in yaml.safe_load(MISTAKES.read_text()) if "onlyArks" not in case and case["mistake"] not in NAMELESS
]
Cluster: TypeAlias = Any  # of conftest.py, which cannot be imported


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["mistake"])
async def test_a_mistake_is_refused_with_the_field_or_the_rule(case: dict[str, str], cluster: Cluster) -> None:
    with pytest.raises(RuntimeError) as refused:
        await cluster.server.kubectl("apply", "--dry-run=server", "-f", "-", stdin=case["manifest"])
    _, field, rule = case["error"].split(": ", 2)
    name = re.sub(r"\[\d+\]", "", field).rpartition(".")[2]
    assert name in str(refused.value) or rule in str(refused.value)
