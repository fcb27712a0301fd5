"""The READMEs of the charts, as `helm show readme` prints them: how to install, and every value with its default.

Values and their explanations come from values.yaml, the commands from docs/kubernetes.md.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_KEY = re.compile(r"^( *)([A-Za-z][\w.-]*):(?: (.*))?$")


@dataclass(frozen=True, slots=True)
class Value:
    path: str
    default: str
    """As YAML on one line; empty for a group of values."""
    description: str


def chart_readme(root: Path, chart: str) -> str:
    """The README of a chart in charts/. Raises OSError, ValueError."""
    about = yaml.safe_load((root / "charts" / chart / "Chart.yaml").read_text())
    rows = [_row(value) for value in values_of((root / "charts" / chart / "values.yaml").read_text())]
    commands = install_block((root / "docs/kubernetes.md").read_text())
    needs = f"Needs Kubernetes {about['kubeVersion'].removesuffix('-0')}. " if "kubeVersion" in about else ""
    return "\n".join(
        [
            f"# {about['name']}",
            "",
            about["description"],
            "",
            f"{needs}From a checkout of Arks:",
            "",
            "```",
            commands,
            "```",
            "",
            "values-small.yaml is for a trial; leave it out for production.",
            "docs/kubernetes.md of Arks has the images, LeaderWorkerSet, which comes first, and a first answer;",
            "docs/operations.md upgrades, backups and removal.",
            "",
            "## Values",
            "",
            "Unknown names are errors: values.schema.json has every name, also what a service may have besides these.",
            "",
            "| value | default | meaning |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


def install_block(page: str) -> str:
    """The commands that docs/kubernetes.md gives under Install for the charts. Raises ValueError."""
    section = page.partition("\n## Install\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"^```\n(.*?)\n```$", section, re.DOTALL | re.MULTILINE)
    if (found := next((block for block in blocks if "charts/arks-crds" in block), None)) is None:
        raise ValueError("docs/kubernetes.md has no commands for the charts under Install")
    return str(found)


def values_of(text: str) -> Iterator[Value]:
    """Every value of values.yaml, and every group that has a comment, in their order.

    A comment belongs to the key below it; a blank line ends it.
    """
    data = yaml.safe_load(text)
    comment: list[str] = []
    parents: list[tuple[int, str]] = []
    for line in text.splitlines():
        if line.strip().startswith("#"):
            comment.append(line.strip().removeprefix("#").strip())
            continue
        if (key := _KEY.match(line)) is not None:
            indent = len(key[1])
            parents = [*(parent for parent in parents if parent[0] < indent), (indent, key[2])]
            names = [name for _, name in parents]
            default = _at(data, names)
            is_group = isinstance(default, dict) and default != {} and not key[3]
            if comment or not is_group:
                shown = "" if is_group else json.dumps(default, ensure_ascii=False)
                yield Value(".".join(names), shown, " ".join(comment))
        comment = []


def _at(data: Any, names: list[str]) -> Any:
    for name in names:
        data = data[name]
    return data


def _row(value: Value) -> str:
    default = f"`{value.default}`" if value.default else ""
    return f"| `{value.path}` | {_cell(default)} | {_cell(value.description)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
