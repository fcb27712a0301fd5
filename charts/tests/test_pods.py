"""Properties of all pods, for all values."""

from typing import Any


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
    services = {"app-deployer", "endpoint-router", "metrics", "model-manager", "token-quota", "usage-meter"}
    assert {f"arks-{service}" for service in services} == {
        name for name in holders if not name.startswith("arks-secrets-")
    }


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


def test_every_pod_runs_on_the_nodes_of_the_defaults(render: Any) -> None:
    where = {"nodeSelector": {"pool": "system"}, "tolerations": [{"key": "system", "operator": "Exists"}]}
    for name, pod in render({"defaults": where, "imagePullSecrets": [{"name": "registry"}]}).pods().items():
        assert {**where, "imagePullSecrets": [{"name": "registry"}]}.items() <= pod.items(), name
