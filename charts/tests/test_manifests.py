"""Settings, names, images and notes of a rendered chart."""

from pathlib import Path
from typing import Any

import pytest

from arks.app_deployer.config import Settings as AppDeployerSettings
from arks.endpoint_router.config import Settings as EndpointRouterSettings
from arks.kit.settings import Settings
from arks.kit.testing.helm import helm
from arks.metrics.config import Settings as MetricsSettings
from arks.model_manager.config import Settings as ModelManagerSettings
from arks.token_quota.config import MeterSettings, ShipperSettings, TokenQuotaSettings

CHART = Path(__file__).parents[1] / "arks"
GOLDEN = Path(__file__).parent / "golden"
PROGRAMS: dict[str, type[Settings]] = {
    "app-deployer": AppDeployerSettings,
    "endpoint-router": EndpointRouterSettings,
    "metrics": MetricsSettings,
    "model-manager": ModelManagerSettings,
    "token-quota": TokenQuotaSettings,
    "usage-meter": MeterSettings,
    "usage-shipper": ShipperSettings,
}
Json = dict[str, Any]
POD_NAME: Json = {"fieldRef": {"fieldPath": "metadata.name"}}


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
