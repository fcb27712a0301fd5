"""Dashboards are JSON that Grafana can read, and query only metrics that exist."""

import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
DASHBOARDS = sorted((ROOT / "charts/arks/dashboards").glob("*.json"))


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)
def test_every_panel_queries_existing_metrics(dashboard: Path, known_series: set[str], metric_names: Any) -> None:
    panels = json.loads(dashboard.read_text())["panels"]
    queried = {name for panel in panels for target in panel["targets"] for name in metric_names(target["expr"])}
    assert queried
    assert set() == queried - known_series


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
