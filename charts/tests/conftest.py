"""Fixtures that render the chart with Helm, without a cluster."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import yaml

from arks.kit.testing.helm import HelmFailed, helm, objects
from arks.metrics.adapters import metrics as replica_metrics

Json: TypeAlias = dict[str, Any]
CHART = Path(__file__).parents[1] / "arks"
ROOT = Path(__file__).parents[2]
CASES = sorted((Path(__file__).parent / "golden").glob("*.values.yaml"))
SUFFIXES = ("_total", "_bucket", "_sum", "_count", "")
RELEASE, NAMESPACE = "arks", "arks-system"


class Rendered:
    """The objects of one rendering."""

    def __init__(self, manifest: str) -> None:
        self.objects: list[Json] = objects(manifest)

    def of(self, kind: str, component: str | None = None) -> list[Json]:
        """All objects of a kind, or those of one component."""
        return [
            found
            for found in self.objects
            if found["kind"] == kind
            and component in {None, found["metadata"]["labels"].get("app.kubernetes.io/component")}
        ]

    def named(self, kind: str, name: str) -> Json:
        """The object of this name. Raises StopIteration if there is none."""
        return next(found for found in self.of(kind) if found["metadata"]["name"] == name)

    def workload(self, component: str) -> Json:
        return next(found for kind in ("Deployment", "StatefulSet") for found in self.of(kind, component))

    def pods(self) -> dict[str, Json]:
        """Name of a workload or of a bare pod -> spec of its pod."""
        workloads = (*self.of("Deployment"), *self.of("StatefulSet"), *self.of("Job"))
        templates = {found["metadata"]["name"]: found["spec"]["template"]["spec"] for found in workloads}
        return templates | {found["metadata"]["name"]: found["spec"] for found in self.of("Pod")}

    def containers(self) -> Iterator[tuple[str, Json]]:
        """(pod, container) of all containers, including sidecars."""
        for pod, spec in self.pods().items():
            for container in (*spec.get("initContainers", ()), *spec["containers"]):
                yield pod, container

    def container(self, name: str) -> Json:
        return next(container for _, container in self.containers() if container["name"] == name)

    def environment(self, container: str) -> dict[str, Any]:
        """Name -> value, or the source of the value."""
        found = self.container(container).get("env", [])
        return {variable["name"]: variable.get("value", variable.get("valueFrom")) for variable in found}

    def verbs_of(self, kind: str, component: str) -> dict[str, set[str]]:
        """Resource -> verbs, of all roles of this kind that the component's account has."""
        found: dict[str, set[str]] = {}
        for role in self.of(kind, component):
            for rule in role["rules"]:
                for resource in rule["resources"]:
                    found.setdefault(resource, set()).update(rule["verbs"])
        return found


Render: TypeAlias = Callable[..., Rendered]


@pytest.fixture(scope="session")
def render(tmp_path_factory: pytest.TempPathFactory) -> Render:
    """Renders the chart with these values, a dictionary or a file. Raises HelmFailed. A Job creates the Secret, because
    Helm itself refuses to do so without a cluster."""
    written = tmp_path_factory.mktemp("values") / "values.yaml"

    def rendered(
        values: Json | Path | None = None, *options: str, namespace: str = NAMESPACE, chart: Path = CHART
    ) -> Rendered:
        file = values if isinstance(values, Path) else written
        if not isinstance(values, Path):
            file.write_text(yaml.safe_dump(values or {}))
        line = ("template", RELEASE, str(chart), "-n", namespace, "--set", "secrets.generate=job", "-f", str(file))
        return Rendered(helm(*line, *options))

    return rendered


@pytest.fixture
def refusal(render: Render) -> Callable[..., str]:
    """The error with which Helm rejects these values."""

    def error_for(values: Json, *options: str) -> str:
        with pytest.raises(HelmFailed) as raised:
            render(values, *options)
        return str(raised.value)

    return error_for


@pytest.fixture(scope="session")
def default(render: Render) -> Rendered:
    """The chart with its default values. Tests must not change it."""
    return render()


@pytest.fixture(scope="session", params=[None, *CASES], ids=lambda case: case.name.split(".")[0] if case else "default")
def rendered(request: pytest.FixtureRequest, render: Render, default: Rendered) -> Rendered:
    """The chart with each values file that has a golden file."""
    return default if request.param is None else render(request.param)


@pytest.fixture(scope="session")
def known_series() -> set[str]:
    """Names of the series of all metrics in the sources of the services."""
    sources = [*ROOT.glob("services/*/src/**/*.py"), *ROOT.glob("libs/kit/src/**/*.py")]
    quoted = {name for path in sources for name in re.findall(r'"((?:arks|gateway)_[a-z_]+)"', path.read_text())}
    metrics = quoted | {f"arks_replica_{name}" for name in replica_metrics._GAUGES}
    return {name + suffix for name in metrics for suffix in SUFFIXES}


@pytest.fixture(scope="session")
def metric_names() -> Callable[[str], set[str]]:
    """The names of Arks' metrics in an expression."""
    return lambda expression: set(re.findall(r"\b(?:arks|gateway)_[a-z_]+\b", expression))
