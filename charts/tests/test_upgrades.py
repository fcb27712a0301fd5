"""What an upgrade of the chart restarts."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

Json = dict[str, Any]
CHART = Path(__file__).parents[1] / "arks"
SERVERS = {"arks-nats", "arks-postgresql", "arks-redis"}


def templates(rendered: Any) -> dict[str, Json]:
    """Name of a workload -> its pod template and claims: a change restarts its pods, or is refused."""
    workloads = (*rendered.of("Deployment"), *rendered.of("StatefulSet"))
    return {
        found["metadata"]["name"]: {key: found["spec"].get(key) for key in ("template", "volumeClaimTemplates")}
        for found in workloads
    }


@pytest.fixture
def bumped(tmp_path: Path) -> Any:
    """Copies the chart with other versions in Chart.yaml."""

    def copied(**versions: str) -> Path:
        copy = tmp_path / "chart"
        shutil.copytree(CHART, copy)
        about = copy / "Chart.yaml"
        about.write_text(yaml.safe_dump({**yaml.safe_load(about.read_text()), **versions}))
        return copy

    return copied


def restarted(before: Any, after: Any) -> set[str]:
    old, new = templates(before), templates(after)
    return {name for name in old if old[name] != new[name]}


def test_a_new_version_of_the_chart_alone_restarts_nothing(default: Any, render: Any, bumped: Any) -> None:
    assert set() == restarted(default, render(chart=bumped(version="9.9.9")))


def test_a_new_version_of_arks_restarts_no_server_whose_image_is_the_same(
    default: Any, render: Any, bumped: Any
) -> None:
    changed = restarted(default, render(chart=bumped(version="9.9.9", appVersion="9.9.9")))
    assert set(templates(default)) - SERVERS == changed
