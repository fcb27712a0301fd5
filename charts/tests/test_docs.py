"""The values and images in the pages for operators are those of the chart."""

import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml

from arks.app_deployer.adapters.profiles import read_profiles
from arks.kit.testing.helm import helm

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGE = (DOCS / "operations.md").read_text()
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```$", (DOCS / "kubernetes.md").read_text() + PAGE, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: text.split(":")[0])
def test_the_chart_accepts_every_example(example: str, render: Any) -> None:
    assert render(yaml.safe_load(example)).objects


def test_the_list_of_images_is_complete(default: Any) -> None:
    listed = set(re.findall(r"`([\w./-]+:[\w.-]+)`", PAGE.split("## Without internet")[1].split("## ")[0]))
    installed = {container["image"] for _, container in default.containers()}
    engines = read_profiles().images()
    assert installed | engines == listed


def test_the_table_of_workloads_lists_what_the_chart_installs(default: Any) -> None:
    listed = set(re.findall(r"`(arks-[a-z-]+)`", PAGE.split("## What runs")[1].split("\n\nServices that write")[0]))
    installed = {found["metadata"]["name"] for kind in ("Deployment", "StatefulSet") for found in default.of(kind)}
    assert installed == listed


@pytest.mark.parametrize("chart", ["arks", "arks-crds"])
def test_helm_shows_how_to_install_and_the_values(chart: str) -> None:
    shown = helm("show", "readme", str(Path(__file__).parents[1] / chart))
    assert "helm install arks-crds" in shown
    assert "| value | default | meaning |" in shown


def test_the_page_pushes_every_image_that_its_installation_pulls(render: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (DOCS / "kubernetes.md").read_text()
    (pushed_to,) = re.findall(r"^make push REGISTRY=(\S+)$", page, re.MULTILINE)
    (repository,) = re.findall(r"^helm install arks charts/arks .*--set image\.repository=(\S+)", page, re.MULTILINE)
    assert pushed_to == repository
    images = ROOT / "deploy/images"
    monkeypatch.syspath_prepend(str(images))
    build = runpy.run_path(str(images / "build.py"))
    names = {*build["SERVICES"], *build["ARK_SOURCES"], build["ENGINE_OF_LLAMA"]}
    found = render({"image": {"repository": repository}})
    used = {word for _, container in found.containers() for word in (container["image"], *values_of(container))}
    own = {image for image in used if image.startswith(f"{repository}/")}
    assert {f"{repository}/{name}:{build['chart_version']()}" for name in names} >= own
    assert {"metrics", "llamacpp"} <= {image.removeprefix(f"{repository}/").partition(":")[0] for image in own}


def requests(rendered: Any) -> tuple[float, float]:
    """(cores, GiB) that all pods of the release request together."""
    cores = gib = 0.0
    for kind in ("Deployment", "StatefulSet"):
        for workload in rendered.of(kind):
            pod = workload["spec"]["template"]["spec"]
            sidecars = [found for found in pod.get("initContainers", []) if found.get("restartPolicy") == "Always"]
            for container in (*pod["containers"], *sidecars):
                wanted, replicas = container["resources"]["requests"], workload["spec"]["replicas"]
                cpu, memory = str(wanted["cpu"]), wanted["memory"]
                cores += replicas * (float(cpu[:-1]) / 1000 if cpu.endswith("m") else float(cpu))
                gib += replicas * float(memory[:-2]) / 1024
                assert memory.endswith("Mi")
    return round(cores, 1), round(gib, 1)


def test_the_page_has_the_requests_of_a_trial_and_of_production(default: Any, render: Any) -> None:
    page, found = (DOCS / "kubernetes.md").read_text(), []
    for pattern in (
        r"requests of ([\d.]+) cores and ([\d.]+) GiB in all",
        r"they request ([\d.]+) cores and ([\d.]+) GiB",
    ):
        (figures,) = re.findall(pattern, page)
        found.append(tuple(map(float, figures)))
    trial = render(ROOT / "charts/arks/values-small.yaml")
    assert [requests(trial), requests(default)] == found


def values_of(container: dict[str, Any]) -> list[str]:
    return [str(entry.get("value", "")) for entry in container.get("env", [])]
