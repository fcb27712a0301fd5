"""values.schema.json accepts every setting and rejects everything else. REWRITE_GOLDEN=1 writes the part with the
services' settings, which comes from their settings classes.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from arks.app_deployer.config import Settings as AppDeployerSettings
from arks.endpoint_router.config import Settings as EndpointRouterSettings
from arks.kit.settings import Settings as KitSettings
from arks.metrics.config import Settings as MetricsSettings
from arks.model_manager.config import Settings as ModelManagerSettings
from arks.token_quota.config import MeterSettings, TokenQuotaSettings

CHART = Path(__file__).parents[1] / "arks"
SCHEMA = CHART / "values.schema.json"
DEFAULTS = CHART / "files/defaults.json"
AS_GIVEN = {"resources", "labels"}
"""Maps in which null removes an entry."""
SETTINGS: dict[str, type[KitSettings]] = {
    "app-deployer": AppDeployerSettings,
    "endpoint-router": EndpointRouterSettings,
    "metrics": MetricsSettings,
    "model-manager": ModelManagerSettings,
    "token-quota": TokenQuotaSettings,
    "usage-meter": MeterSettings,
}
OVERRIDABLE = {
    "log_level",
    "runtime_default_llamacpp_image",
    "runtime_default_ark_image",
    "default_ark_router_image",
}
"""The chart sets them, and an operator may override them."""
CERTIFICATES = ("ca", "certificate", "certificate_key")
ELSEWHERE = {
    *(f"nats_{what}_file" for what in ("token", "password", "credentials", "nkey", *CERTIFICATES)),
    *(f"redis_{what}_file" for what in ("password", *CERTIFICATES)),
    *("nats_user", "redis_user", "watch_namespace", "watch_namespace_selector", "otlp_endpoint", "runtime_profiles"),
    *("horizontal_pod_autoscalers", "external_metrics_host", "external_metrics_port", "external_metrics_service"),
    *("trace_sampling_percent", "trace_follow_clients", "engine_pod_defaults"),
    *("node_cache_key_file", "node_cache_dir", "node_cache_agents", "node_cache_export_port"),
    *("pod_defaults", "gateway_token_file", "operator_token_file", "gateway_token_required"),
    *(
        "gateway_certificate_source",
        "gateway_cors_origins",
        "http_route_namespaces",
        "http_route_namespace_selector",
        "gateway_service",
        "gateway_service_port",
    ),
}
"""The chart derives these settings from other values."""
WITHOUT_EFFECT = {
    *("envoy_admin_port", "envoy_heap_bytes", "envoy_stats_port"),
    *("supervisor_pid", "xds_socket", "envoy_admin_socket", "token_quota_socket", "api_socket", "nice"),
}
"""The first three go into Envoy's bootstrap, which the chart writes; the others are for one machine."""
MOVED = {"token-quota": dict.fromkeys(("reservation_seconds", "sweep_seconds", "entries_keep_days"), "usage-meter")}
"""Service -> setting that it had -> service that has it now. Templates refuse them, in a sentence with the new path."""
KEYWORDS = ("type", "enum", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "pattern", "minLength")
Json = dict[str, Any]


def settable(service: str, default: Any) -> Json:
    """Definition of `services.<service>.settings`."""
    set_by_chart = {
        name.removeprefix("ARKS_").lower() for name in default.environment(service) if name.startswith("ARKS_")
    }
    hidden = (set_by_chart - OVERRIDABLE) | ELSEWHERE | WITHOUT_EFFECT
    properties = SETTINGS[service].model_json_schema(by_alias=False)["properties"]
    allowed = {name: allowed_values(known) for name, known in properties.items() if name not in hidden}
    for name, now in MOVED.get(service, {}).items():
        allowed[name] = {"description": f"Moved to services.{now}.settings.{name}", "deprecated": True}
    return {"type": ["object", "null"], "additionalProperties": False, "properties": allowed}


def allowed_values(known: Json) -> Json:
    """Keywords that restrict a setting; of an optional setting those of its value, because null means to omit it."""
    if options := known.get("anyOf"):
        known = next(option for option in options if option["type"] != "null")
    return {keyword: known[keyword] for keyword in KEYWORDS if keyword in known}


def pretty(value: Any, indent: str = "") -> str:
    """JSON with small parts on one line each."""
    flat = json.dumps(value)
    if len(indent) + len(flat) <= 110 or not isinstance(value, dict | list) or not value:
        return flat
    inner = indent + "  "
    if isinstance(value, list):
        return "[\n" + ",\n".join(inner + pretty(item, inner) for item in value) + f"\n{indent}]"
    members = (f"{inner}{json.dumps(name)}: {pretty(item, inner)}" for name, item in value.items())
    return "{\n" + ",\n".join(members) + f"\n{indent}}}"


def test_every_setting_of_a_service_may_be_set_and_no_other(default: Any) -> None:
    schema = json.loads(SCHEMA.read_text())
    for service in SETTINGS:
        schema["definitions"][f"settings-{service}"] = settable(service, default)
    if os.environ.get("REWRITE_GOLDEN") == "1":
        SCHEMA.write_text(pretty(schema) + "\n")
    assert pretty(schema) + "\n" == SCHEMA.read_text()


def defaults(values: Json) -> Json:
    """The values without those whose default is null."""
    return {
        name: defaults(value) if isinstance(value, dict) and name not in AS_GIVEN else value
        for name, value in values.items()
        if value is not None
    }


def test_the_file_of_defaults_has_those_of_the_values() -> None:
    expected = json.dumps(defaults(yaml.safe_load((CHART / "values.yaml").read_text())), indent=1) + "\n"
    if os.environ.get("REWRITE_GOLDEN") == "1":
        DEFAULTS.write_text(expected)
    assert expected == DEFAULTS.read_text()


def nulls(values: Json, depth: int) -> Json:
    """The values with null for everything at this depth, and for what has less."""
    return {
        name: nulls(value, depth - 1) if isinstance(value, dict) and value and depth and name not in AS_GIVEN else None
        for name, value in values.items()
        if name not in {"runAsUser", "secrets"}
    }


@pytest.mark.parametrize("depth", [0, 1, 2, 9])
def test_null_means_the_default(depth: int, default: Any, render: Any) -> None:
    """Keys with nothing below, as people write them while they edit a file, at every depth."""
    assert default.objects == render(nulls(yaml.safe_load((CHART / "values.yaml").read_text()), depth)).objects


def test_null_is_like_absent_for_values_without_a_default(default: Any, render: Any) -> None:
    image = {"registry": None, "repository": None, "tag": None, "digest": None}
    more = dict.fromkeys(("autoscaling", "settings", "nodeSelector", "tolerations", "podLabels", "affinity"))
    changed = {"services": {"metrics": {"image": image, **more}}, "gateway": {"autoscaling": None, "affinity": None}}
    assert default.objects == render(changed).objects


def test_values_that_are_false_or_empty_replace_defaults(render: Any) -> None:
    off = {"enabled": False}
    rendered = render(
        {
            "podDisruptionBudget": off,
            "networkPolicy": {**off, "engines": []},
            "topologyKeys": [],
            "gateway": {"drainSeconds": 0, "resources": {"limits": {"memory": None}}},
        }
    )
    assert [] == [*rendered.of("PodDisruptionBudget"), *rendered.of("NetworkPolicy")]
    assert "--drain-seconds=0" in rendered.container("drain")["args"]
    assert "topologySpreadConstraints" not in rendered.pods()["arks-metrics"]
    assert {"requests": {"cpu": "1", "memory": "512Mi"}, "limits": {}} == rendered.container("envoy")["resources"]


def test_every_template_begins_with_the_defaults() -> None:
    """Templates are rendered in no documented order."""
    templates = [*(CHART / "templates").glob("*.yaml"), CHART / "templates/NOTES.txt"]
    assert [] == [
        path.name for path in templates if not path.read_text().startswith('{{- include "arks.prepare" . -}}')
    ]


def test_the_schema_is_valid_and_accepts_the_default_values() -> None:
    schema = json.loads(SCHEMA.read_text())
    Draft7Validator.check_schema(schema)
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert [] == [error.message for error in Draft7Validator(schema).iter_errors(values)]


def test_objects_of_the_chart_reject_unknown_names() -> None:
    """Only objects that Kubernetes defines, and maps of free names, accept any name."""
    schema = json.loads(SCHEMA.read_text())
    open_objects: list[str] = []

    def look(part: Any, path: str) -> None:
        if isinstance(part, dict):
            if "object" in part.get("type", ()) and "additionalProperties" not in part:
                open_objects.append(path)
            for name, inner in part.items():
                look(inner, f"{path}/{name}")

    look(schema, "")
    free = {path.rsplit("/", 1)[-1] for path in open_objects}
    assert {"affinity", "behavior", "context", "global", "items"} == free


def nested(path: str, value: Any) -> Json:
    """{"a": {"b": value}} for the path "a.b"."""
    for name in reversed(path.split(".")):
        value = {name: value}
    return dict(value)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("watchNamespaces", "team-a"),
        ("services.router.replicas", 1),
        ("services.metrics.replica", 1),
        ("services.metrics.settings.load_tick_second", 0.2),
        ("services.metrics.settings.http_port", 1),
        ("services.metrics.settings.load_tick_seconds", "often"),
        ("services.metrics.resources.limit.memory", "1Gi"),
        ("services.metrics.resources.limits.memory", "1 GB"),
        ("services.metrics.replicas", -1),
        ("services.metrics.image.digest", "latest"),
        ("gateway.drainSeconds", "300s"),
        ("gateway.service.type", "Loadbalancer"),
        ("gateway.tls.secretName", "Gateway TLS"),
        ("gateway.tls.secret", "gateway-tls"),
        ("gateway.httpRoutes.namespaces", "team-a"),
        ("gateway.httpRoutes.enabled", True),
        ("gateway.httpRoutes.namespaceSelector", "team=a"),
        ("watchNamespaceSelector.matchLabel", {"team": "a"}),
        ("watchNamespaceSelector.matchExpressions", [{"key": "team", "operator": "Is"}]),
        ("nats.external.url", "http://nats:4222"),
        ("nats.external.url", "nats://token@nats:4222"),
        ("redis.external.url", "redis://:password@redis:6379"),
        ("postgresql.external.url", "postgresql://arks@db/arks"),
        ("postgresql.external.url", "postgresql+asyncpg://arks:password@db/arks"),
        ("networkPolicy.apiServer.ports", []),
        ("runAsUser", 0),
        ("logLevel", "trace"),
        ("watchNamespace", "Team A"),
        ("serviceMonitor.intervall", "15s"),
    ],
)
def test_a_wrong_value_is_rejected_by_its_name(path: str, value: Any, refusal: Callable[..., str]) -> None:
    error = refusal(nested(path, value))
    assert path.rsplit(".", 1)[-1] in error or path.rsplit(".", 2)[-2] in error
