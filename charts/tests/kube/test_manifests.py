"""A real API server accepts every manifest: schema, validation and admission."""

from pathlib import Path
from typing import Any, TypeAlias

import pytest
import yaml

pytestmark = [pytest.mark.kube, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]
CASES = sorted((Path(__file__).parents[1] / "golden").glob("*.values.yaml"))
NAMESPACE = "arks-system"
WITH_PODS = {"Deployment", "StatefulSet", "Job", "Pod"}
Json: TypeAlias = dict[str, Any]
Cluster: TypeAlias = Any  # of conftest.py, which cannot be imported


@pytest.fixture(scope="module")
def different(default: Any, render: Any) -> list[Json]:
    """The objects of the chart with its default values, and of every values file those that differ from them."""
    others = [found for case in CASES for found in render(case).objects if found not in default.objects]
    return [*default.objects, *others]


async def test_the_api_server_accepts_every_manifest(different: list[Json], cluster: Cluster) -> None:
    """Unknown fields are errors. A dry run still validates and admits."""
    options = ("apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "-f", "-")
    output = await cluster.server.kubectl(*options, stdin=yaml.safe_dump_all(different))
    assert len(different) == len(output.splitlines())


def as_admitted(pod: dict[str, Any]) -> dict[str, Any]:
    """The pod with the PVCs' volumes that a workload adds, and without spreading, which needs a label that it adds."""
    containers = (*pod.get("initContainers", ()), *pod["containers"])
    mounted = {mount["name"] for container in containers for mount in container["volumeMounts"]}
    claims = mounted - {volume["name"] for volume in pod["volumes"]}
    volumes = [*pod["volumes"], *({"name": name, "emptyDir": {}} for name in claims)]
    return {**pod, "volumes": volumes, "topologySpreadConstraints": []}


async def test_every_pod_meets_the_restricted_pod_security_standard(different: list[Json], cluster: Cluster) -> None:
    specs = [found["spec"].get("template", found)["spec"] for found in different if found["kind"] in WITH_PODS]
    pods = [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"pod-{number}", "namespace": NAMESPACE},
            "spec": as_admitted(pod),
        }
        for number, pod in enumerate(specs)
    ]
    options = ("create", "--dry-run=server", "--validate=strict", "-f", "-")
    output = await cluster.server.kubectl(*options, stdin=yaml.safe_dump_all(pods))
    assert len(pods) == len(output.splitlines())


async def test_a_pod_with_more_rights_is_rejected(default: Any, cluster: Cluster) -> None:
    """Proves that the test above can fail."""
    pod = as_admitted(default.pods()["arks-metrics"])
    pod["securityContext"] = {"runAsUser": 0}
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "namespace": NAMESPACE}, "spec": pod}
    with pytest.raises(RuntimeError, match="violates PodSecurity"):
        await cluster.server.kubectl("create", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump(manifest))


async def test_the_crds_accept_the_examples(cluster: Cluster) -> None:
    for example in sorted((Path(__file__).parents[3] / "deploy/examples").glob("*.yaml")):
        expected = len(list(yaml.safe_load_all(example.read_text())))
        output = await cluster.server.kubectl(
            "create", "-n", "team-a", "--dry-run=server", "--validate=strict", "-f", str(example)
        )
        assert expected == len(output.splitlines())
