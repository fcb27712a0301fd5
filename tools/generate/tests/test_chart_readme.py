"""The READMEs of the charts have every value."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tools.generate.chart_readme import Value, chart_readme, install_block, values_of

ROOT = Path(__file__).parents[3]
VALUES = """\
# Of the file

# How many
# of them
replicas: 1
image:
  # Empty: the newest
  tag: ""
# Who may call
peers:
  - {a: b}
secret: {name: "", key: token}
"""


def scalars(data: dict[str, Any], at: str = "") -> set[str]:
    """Paths of everything that is no group."""
    found: set[str] = set()
    for name, value in data.items():
        path = f"{at}{name}"
        found |= scalars(value, f"{path}.") if isinstance(value, dict) and value else {path}
    return found


def test_values_have_their_comments_and_defaults() -> None:
    assert [
        Value("replicas", "1", "How many of them"),
        Value("image.tag", '""', "Empty: the newest"),
        Value("peers", '[{"a": "b"}]', "Who may call"),
        Value("secret", '{"name": "", "key": "token"}', ""),
    ] == list(values_of(VALUES))


@pytest.mark.parametrize("chart", ["arks", "arks-crds"])
def test_every_value_is_in_the_readme(chart: str) -> None:
    readme = chart_readme(ROOT, chart)
    for path in scalars(yaml.safe_load((ROOT / "charts" / chart / "values.yaml").read_text())):
        parents = [path.rpartition(".")[0], path]  # a mapping on one line is one row
        assert any(f"| `{name}` |" in readme for name in parents), path


def test_the_commands_are_those_of_the_page() -> None:
    commands = install_block((ROOT / "docs/kubernetes.md").read_text())
    assert "helm install arks charts/arks" in commands
    assert commands in chart_readme(ROOT, "arks")
    with pytest.raises(ValueError, match="no commands for the charts"):
        install_block("# Install on Kubernetes\n")
