"""Rendered manifests as golden files: the default ones in full, and for other values the difference to them.

REWRITE_GOLDEN=1 writes the files.
"""

import difflib
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from arks.kit.testing.golden import assert_golden

GOLDEN = Path(__file__).parent / "golden"
SMALL = Path(__file__).parents[1] / "arks/values-small.yaml"
CASES = sorted(GOLDEN.glob("*.values.yaml"))
COMMON_LABELS = (
    *("app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/version", "helm.sh/chart"),
    *("app.kubernetes.io/part-of", "app.kubernetes.io/managed-by"),
)
Json = dict[str, Any]


class Plain(yaml.SafeDumper):
    """Writes texts of several lines as blocks."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


Plain.add_representer(str, _text)


def comparable(found: Json) -> Json:
    """The object without random values, the hash in a Job's name, and the labels that every object has."""
    labels = {name: value for name, value in found["metadata"]["labels"].items() if name not in COMMON_LABELS}
    name = re.sub("-[0-9a-f]{8}$", "", found["metadata"]["name"])
    plain = {**found, "metadata": {**found["metadata"], "name": name, "labels": labels}}
    return plain | {"data": dict.fromkeys(found["data"], "random")} if found["kind"] == "Secret" else plain


def texts(objects: list[Json]) -> dict[str, list[str]]:
    """`Kind namespace/name` -> lines."""
    return {
        f"{found['kind']} {found['metadata'].get('namespace', '')}/{found['metadata']['name']}": yaml.dump(
            found, Dumper=Plain, sort_keys=False, width=150, default_flow_style=None
        ).splitlines()
        for found in map(comparable, objects)
    }


def as_text(objects: list[Json]) -> str:
    return "---\n".join("\n".join([*lines, ""]) for lines in texts(objects).values())


def as_changes(before: list[Json], after: list[Json]) -> str:
    """Removed objects, added objects, and the changed lines of all others."""
    old, new = texts(before), texts(after)
    changes = [f"- {name}" for name in old if name not in new]
    for name, lines in new.items():
        if name not in old:
            changes += ["", f"+ {name}", *(f"+ {line}" for line in lines)]
        elif lines != old[name]:
            hunks = list(difflib.unified_diff(old[name], lines, n=2, lineterm=""))[2:]
            changes += ["", f"  {name}", *("@@" if line.startswith("@@") else line for line in hunks)]
    return "\n".join([*changes, ""])


def test_the_default_chart(default: Any) -> None:
    assert_golden(GOLDEN / "default.yaml", as_text(default.objects))


@pytest.mark.parametrize("values", CASES, ids=lambda path: path.name.removesuffix(".values.yaml"))
def test_the_changes_that_values_make(values: Path, default: Any, render: Any) -> None:
    changed = as_changes(default.objects, render(values).objects)
    assert_golden(values.with_name(values.name.replace(".values.yaml", ".changes")), changed)


def test_the_changes_of_the_values_for_a_trial(default: Any, render: Any) -> None:
    assert_golden(GOLDEN / "trial.changes", as_changes(default.objects, render(SMALL).objects))
