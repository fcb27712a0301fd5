"""Values of the External metrics API."""

from datetime import UTC, datetime

import pytest

from arks.contracts.resources import ArksAutoscaler, ArksAutoscalerStatus
from arks.metrics.domain.scaling import external

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def autoscaler(name: str, wanted: int | None) -> ArksAutoscaler:
    spec = {"target": {"name": f"app-of-{name}"}, "maxReplicas": 5, "objectives": {"slotUsePercent": 50}}
    made = ArksAutoscaler.from_dict({"metadata": {"name": name}, "spec": spec})
    return made.model_copy(update={"status": ArksAutoscalerStatus(wanted_replicas=wanted)})


def test_an_autoscaler_has_its_wanted_number() -> None:
    answer = external.values([autoscaler("chat", 3)], {"autoscaler": "chat"}, NOW)
    assert "external.metrics.k8s.io/v1beta1" == answer["apiVersion"]
    assert [
        {
            "metricName": "arks_autoscaler_wanted_replicas",
            "metricLabels": {"autoscaler": "chat", "application": "app-of-chat"},
            "timestamp": "2026-01-02T03:04:05Z",
            "value": "3",
        }
    ] == answer["items"]


def test_zero_is_a_value_and_undecided_is_none() -> None:
    """A value for what is not decided would scale down what runs."""
    items = external.values([autoscaler("idle", 0), autoscaler("new", None)], {}, NOW)["items"]
    assert ["0"] == [item["value"] for item in items]


def test_labels_select() -> None:
    both = [autoscaler("a", 1), autoscaler("b", 2)]
    items = external.values(both, external.selected("application=app-of-b"), NOW)["items"]
    assert ["2"] == [item["value"] for item in items]
    assert [] == external.values(both, external.selected("autoscaler=a,application=app-of-b"), NOW)["items"]


@pytest.mark.parametrize("selector", ["a in (b)", "!a", "a!=b", "a"])
def test_a_selector_that_is_not_understood_selects_nothing_by_mistake(selector: str) -> None:
    with pytest.raises(external.UnknownSelector):
        external.selected(selector)


def test_terms_are_read_as_clients_write_them() -> None:
    assert {"a": "b", "c.d/e": "f"} == external.selected("a==b, c.d/e=f")
