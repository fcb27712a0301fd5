"""Values that the chart refuses because they contradict each other."""

from collections.abc import Callable
from typing import Any

import pytest

Json = dict[str, Any]
SCALED = {"enabled": True, "minReplicas": 1, "maxReplicas": 2, "targetCPUUtilizationPercentage": 70}


@pytest.mark.parametrize(
    ("values", "error"),
    [
        (
            {"services": {"metrics": {"autoscaling": SCALED, "resources": {"requests": {"cpu": None}}}}},
            "metrics: autoscaling needs resources.requests.cpu of metrics",
        ),
        ({"gateway": {"autoscaling": {**SCALED, "minReplicas": 3}}}, "gateway: autoscaling.minReplicas is more than"),
        ({"gateway": {"heapBytes": 2 * 2**30}}, "gateway.heapBytes (2147483648) must be less than"),
        ({"nats": {"fileStoreBytes": 10 * 2**30}}, "must be less than nats.persistence.size (10Gi)"),
        ({"redis": {"memoryBytes": 2**29}}, "must be less than redis.resources.limits.memory (512Mi)"),
        ({"services": {"metrics": {"resources": {"requests": {"memory": "1Gi"}}}}}, "requests more memory than its"),
        ({"gateway": {"service": {"nodePort": 30080}}}, "gateway.service.nodePort has no effect with type ClusterIP"),
        ({"gateway": {"service": {"externalTrafficPolicy": "Local"}}}, "externalTrafficPolicy has no effect"),
        ({"gateway": {"service": {"loadBalancerClass": "x/y"}}}, "loadBalancerClass has no effect without type"),
        (
            {"redis": {"persistence": {"enabled": False, "existingClaim": "x"}}},
            "redis.persistence.existingClaim has no",
        ),
        ({"nats": {"external": {"tokenSecret": {"name": "x"}}}}, "nats.external.tokenSecret has no effect without"),
        ({"watchNamespace": "a", "rbac": {"secrets": {"namespaces": ["b"]}}}, "serves only a (watchNamespace), not b"),
        (
            {"watchNamespace": "a", "watchNamespaceSelector": {"matchLabels": {"team": "a"}}},
            "watchNamespaceSelector: this release serves only a",
        ),
        (
            {"watchNamespace": "a", "gateway": {"httpRoutes": {"namespaceSelector": {"matchLabels": {"team": "a"}}}}},
            "gateway.httpRoutes.namespaceSelector: this release serves only a",
        ),
        (
            {"watchNamespaceSelector": {"matchExpressions": [{"key": "team", "operator": "In"}]}},
            "watchNamespaceSelector: team In needs values",
        ),
        ({"nodeCache": {"lowPercent": 81}}, "nodeCache.lowPercent is above nodeCache.highPercent"),
        ({"serviceMonitor": {"enabled": True}}, "name it in networkPolicy.metricsFrom"),
        (
            {"gateway": {"httpRoutes": {"namespaces": ["team-a"]}, "tls": {"secretName": "public"}}},
            "configure the certificate at the Gateway",
        ),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_values_that_contradict_each_other_are_refused(values: Json, error: str, refusal: Callable[..., str]) -> None:
    assert error in refusal(values)


def moved(**old: Any) -> Json:
    return {"services": {"token-quota": old}}


@pytest.mark.parametrize("name", ["entries_keep_days", "reservation_seconds", "sweep_seconds"])
@pytest.mark.parametrize("value", [31, 31.5, "often"])
def test_a_setting_that_has_moved_is_refused_with_its_new_path(
    name: str, value: Any, refusal: Callable[..., str]
) -> None:
    """Whatever its value: it is checked at its new path."""
    expected = f"services.token-quota.settings.{name} is services.usage-meter.settings.{name} now"
    assert expected in refusal(moved(settings={name: value, "log_level": "debug"}))


def test_all_settings_that_have_moved_are_named_at_once(refusal: Callable[..., str]) -> None:
    error = refusal(moved(settings={"sweep_seconds": 2, "reservation_seconds": 60}))
    assert "services.usage-meter.settings.sweep_seconds" in error
    assert "services.usage-meter.settings.reservation_seconds" in error


def test_a_moved_setting_as_an_environment_variable_is_refused_too(refusal: Callable[..., str]) -> None:
    """token-quota would ignore it."""
    error = refusal(moved(extraEnv=[{"name": "ARKS_SWEEP_SECONDS", "value": "2"}]))
    assert "ARKS_SWEEP_SECONDS in services.token-quota.extraEnv is services.usage-meter.settings.sweep_seconds" in error


def test_monitoring_needs_no_peers_without_network_policies(render: Any) -> None:
    rendered = render({"serviceMonitor": {"enabled": True}, "networkPolicy": {"enabled": False}})
    assert 1 == len(rendered.of("ServiceMonitor"))
