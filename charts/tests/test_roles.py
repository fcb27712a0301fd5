"""Rights on Arks' resources for users who have rights on a namespace."""

from pathlib import Path
from typing import Any

import pytest

from arks.kit.testing.helm import helm, objects

CHART = Path(__file__).parents[1] / "arks-crds"
PREFIX = "rbac.authorization.k8s.io/aggregate-to-"
Json = dict[str, Any]


@pytest.fixture(scope="module")
def installed() -> list[Json]:
    return objects(helm("template", "arks-crds", str(CHART)))


def test_viewers_read_and_editors_write_everything_but_tokens_and_quotas(installed: list[Json]) -> None:
    kinds = {found["spec"]["names"]["plural"] for found in installed if found["kind"] == "CustomResourceDefinition"}
    roles = {
        label.removeprefix(PREFIX): found["rules"][0]
        for found in installed
        for label in found["metadata"]["labels"]
        if label.startswith(PREFIX)
    }
    assert {"view", "edit"} == set(roles)
    assert kinds - {"arkstokens"} == set(roles["view"]["resources"])
    assert kinds - {"arkstokens", "arksquotas"} == set(roles["edit"]["resources"])
    assert {"get", "list", "watch"} == set(roles["view"]["verbs"])
    assert not {"get", "list", "watch"} & set(roles["edit"]["verbs"])


def test_without_aggregated_roles_there_are_only_definitions() -> None:
    found = objects(helm("template", "arks-crds", str(CHART), "--set", "aggregatedRoles=false"))
    assert {"CustomResourceDefinition"} == {item["kind"] for item in found}
