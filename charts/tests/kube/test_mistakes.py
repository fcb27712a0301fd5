"""A real API server rejects the mistakes that `arks.contracts` rejects, and names the field or the rule."""

import re
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import yaml

pytestmark = [pytest.mark.kube, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]
MISTAKES = Path(__file__).parents[3] / "libs/contracts/tests/mistakes.yaml"
NAMELESS = {"no metadata", "no name"}
"""kubectl reads the object by name before it applies it, so its own error comes first."""
CASES = [
    case for case in yaml.safe_load(MISTAKES.read_text()) if "onlyArks" not in case and case["mistake"] not in NAMELESS
]
Cluster: TypeAlias = Any  # of conftest.py, which cannot be imported


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["mistake"])
async def test_a_mistake_is_rejected_with_its_field_or_rule(case: dict[str, str], cluster: Cluster) -> None:
    with pytest.raises(RuntimeError) as refused:
        await cluster.server.kubectl("apply", "--dry-run=server", "-f", "-", stdin=case["manifest"])
    _, field, rule = case["error"].split(": ", 2)
    name = re.sub(r"\[\d+\]", "", field).rpartition(".")[2]
    assert name in str(refused.value) or rule in str(refused.value)
