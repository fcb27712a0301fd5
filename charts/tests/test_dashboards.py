"""Dashboards: JSON as Grafana reads it, about metrics that Arks has."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from arks.metrics import api as metrics_api

ROOT = Path(__file__).parents[2]
DASHBOARDS = sorted((ROOT / "charts/arks/dashboards").glob("*.json"))
SUFFIXES = ("_total", "_bucket", "_sum", "_count", "")


def metrics() -> set[str]:
    """Names of all metrics in the services' sources, as they stand there."""
    sources = [*ROOT.glob("services/*/src/**/*.py"), *ROOT.glob("libs/kit/src/**/*.py")]
    quoted = {name for path in sources for name in re.findall(r'"((?:arks|gateway)_[a-z_]+)"', path.read_text())}
    return quoted | {f"arks_replica_{name}" for name in metrics_api._GAUGES}


def names(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:arks|gateway)_[a-z_]+\b", expression))


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)
def test_every_panel_asks_for_metrics_that_there_are(dashboard: Path) -> None:
    known = {name + suffix for name in metrics() for suffix in SUFFIXES}
    panels = json.loads(dashboard.read_text())["panels"]
    asked = {name for panel in panels for target in panel["targets"] for name in names(target["expr"])}
    assert asked
    assert set() == asked - known


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)
def test_panels_have_places_of_their_own(dashboard: Path) -> None:
    panels = json.loads(dashboard.read_text())["panels"]
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}
    assert len(panels) == len(places) == len({panel["id"] for panel in panels})


def test_grafana_finds_them_by_their_label_when_asked_for(render: Any, default: Any) -> None:
    assert not [found for found in default.of("ConfigMap") if "grafana_dashboard" in found["metadata"]["labels"]]
    config = render({"dashboards": {"enabled": True}}).one("ConfigMap", "arks-dashboards")
    assert "1" == config["metadata"]["labels"]["grafana_dashboard"]
    files = {path.name: path.read_text() for path in DASHBOARDS}
    assert files == {name: text.removesuffix("\n") + "\n" for name, text in config["data"].items()}
