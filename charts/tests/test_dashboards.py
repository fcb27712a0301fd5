"""Dashboards are JSON that Grafana can read, and query only metrics that exist."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from arks.metrics.adapters import metrics as replica_metrics

ROOT = Path(__file__).parents[2]
DASHBOARDS = sorted((ROOT / "charts/arks/dashboards").glob("*.json"))
SUFFIXES = ("_total", "_bucket", "_sum", "_count", "")


def metrics() -> set[str]:
    """Names of all metrics in the sources of the services."""
    sources = [*ROOT.glob("services/*/src/**/*.py"), *ROOT.glob("libs/kit/src/**/*.py")]
    quoted = {name for path in sources for name in re.findall(r'"((?:arks|gateway)_[a-z_]+)"', path.read_text())}
    return quoted | {f"arks_replica_{name}" for name in replica_metrics._GAUGES}


def names(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:arks|gateway)_[a-z_]+\b", expression))


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)
def test_every_panel_queries_existing_metrics(dashboard: Path) -> None:
    known = {name + suffix for name in metrics() for suffix in SUFFIXES}
    panels = json.loads(dashboard.read_text())["panels"]
    queried = {name for panel in panels for target in panel["targets"] for name in names(target["expr"])}
    assert queried
    assert set() == queried - known


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)
def test_panels_do_not_overlap(dashboard: Path) -> None:
    panels = json.loads(dashboard.read_text())["panels"]
    positions = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}
    assert len(panels) == len(positions) == len({panel["id"] for panel in panels})


def test_grafana_finds_dashboards_by_label_once_they_are_enabled(render: Any, default: Any) -> None:
    assert not [found for found in default.of("ConfigMap") if "grafana_dashboard" in found["metadata"]["labels"]]
    config = render({"dashboards": {"enabled": True}}).named("ConfigMap", "arks-dashboards")
    assert "1" == config["metadata"]["labels"]["grafana_dashboard"]
    files = {path.name: path.read_text() for path in DASHBOARDS}
    assert files == {name: text.removesuffix("\n") + "\n" for name, text in config["data"].items()}
