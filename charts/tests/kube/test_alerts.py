"""Prometheus' own promtool evaluates every alert against series: it fires when it should, and else does not."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from arks.kit.testing.kubernetes import kube_binaries

pytestmark = pytest.mark.kube
TESTS = Path(__file__).parents[1]
RULES = TESTS.parent / "arks/files/alerts.yaml"
CASES: dict[str, dict[str, Any]] = yaml.safe_load((TESTS / "alerts.yaml").read_text())
ALERTS = {rule["alert"]: rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]}


def group(alert: str, series: dict[str, Any], fired: list[dict[str, Any]]) -> dict[str, Any]:
    """A group of promtool's tests."""
    given = [{"series": name, "values": str(values)} for name, values in series.items()]
    expected = {"alertname": alert, "eval_time": CASES[alert]["at"], "exp_alerts": fired}
    return {"interval": "1m", "input_series": given, "alert_rule_test": [expected]}


def firing(alert: str) -> dict[str, Any]:
    case, rule = CASES[alert], ALERTS[alert]
    annotations = rule["annotations"] | {"summary": case["summary"]}
    return {"exp_labels": rule["labels"] | case["labels"], "exp_annotations": annotations}


def promtool(*arguments: str | Path) -> str:
    """What promtool printed; its exit code is part of the text."""
    line = [str(kube_binaries() / "promtool"), *map(str, arguments)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    return f"{done.returncode}\n{done.stdout}{done.stderr}"


def test_every_alert_fires_for_its_series_and_for_no_others(tmp_path: Path) -> None:
    groups = [group(name, case["fires"], [firing(name)]) for name, case in CASES.items()]
    groups += [group(name, series, []) for name, case in CASES.items() for series in case["quiet"]]
    tests = tmp_path / "tests.yaml"
    tests.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "30s", "tests": groups}))
    answer = promtool("test", "rules", tests)
    assert answer.startswith("0\n"), answer


def test_promtool_finds_nothing_to_complain_about() -> None:
    assert promtool("check", "rules", "--lint=all", "--lint-fatal", RULES).startswith("0\n")
