"""The alerts of the PrometheusRule: their metrics exist, the READMEs list them, values change them.

`kube/test_alerts.py` evaluates them.
"""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
GROUPS = yaml.safe_load((ROOT / "charts/arks/files/alerts.yaml").read_text())["groups"]
ALERTS: dict[str, dict[str, Any]] = {rule["alert"]: rule for group in GROUPS for rule in group["rules"]}
CASES = yaml.safe_load((Path(__file__).parent / "alerts.yaml").read_text())


def listed() -> set[str]:
    """The alerts that the READMEs name."""
    texts = [path.read_text() for path in ROOT.glob("services/*/README.md")]
    return {name for text in texts for name in re.findall(r"`(Arks[A-Z]\w+)`", text) if name in ALERTS}


def test_alerts_query_existing_metrics(known_series: set[str], metric_names: Any) -> None:
    queried = {name for rule in ALERTS.values() for name in metric_names(rule["expr"])}
    assert set() == queried - known_series


def test_every_alert_has_series_that_fire_it_and_some_that_do_not() -> None:
    assert list(ALERTS) == list(CASES)
    assert all(case["quiet"] for case in CASES.values())


def test_the_readmes_list_every_alert() -> None:
    assert set(ALERTS) == listed()


def test_the_cases_of_an_alert_have_series_that_it_queries(metric_names: Any) -> None:
    for name, case in CASES.items():
        used = metric_names(str([case["fires"], *case["quiet"]]))
        assert used <= metric_names(ALERTS[name]["expr"]), name


def rules(rendered: Any) -> dict[str, dict[str, Any]]:
    spec = rendered.named("PrometheusRule", "arks")["spec"]
    return {rule["alert"]: rule for group in spec["groups"] for rule in group["rules"]}


def test_the_chart_has_the_alerts_once_they_are_enabled(render: Any, default: Any) -> None:
    assert [] == default.of("PrometheusRule")
    assert ALERTS == rules(render({"prometheusRule": {"enabled": True}}))


def test_values_label_alerts_omit_some_and_add_others(render: Any) -> None:
    own = {"name": "own", "rules": [{"alert": "Own", "expr": "up == 0"}]}
    values = {"enabled": True, "alertLabels": {"team": "ml"}, "without": ["ArksNoEnvoy"], "groups": [own]}
    found = rules(render({"prometheusRule": values}))
    assert {*ALERTS, "Own"} - {"ArksNoEnvoy"} == set(found)
    assert {"severity": "critical", "team": "ml"} == found["ArksNatsAway"]["labels"]


def test_an_alert_that_does_not_exist_cannot_be_omitted(refusal: Any) -> None:
    values = {"prometheusRule": {"enabled": True, "without": ["ArksNoEnvoi"]}}
    assert "prometheusRule.without: there is no alert ArksNoEnvoi" in refusal(values)


@pytest.mark.parametrize("name", ALERTS)
def test_annotations_name_only_labels_that_the_case_has(name: str) -> None:
    texts = " ".join(ALERTS[name]["annotations"].values())
    assert set(re.findall(r"\$labels\.(\w+)", texts)) <= set(CASES[name]["labels"])
