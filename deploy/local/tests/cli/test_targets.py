"""Kinds and names in all the forms that kubectl takes."""

from typing import Any

import pytest

from arks.local.cli.failure import Failure
from arks.local.cli.targets import labels_match, select, targets
from arks.local.render.kinds import ARKS_KINDS, ENDPOINT, MODEL

RESOURCES: list[dict[str, Any]] = [
    {"metadata": {"name": "smollm2", "namespace": "default", "labels": {"team": "red", "tier": "free"}}},
    {"metadata": {"name": "qwen", "namespace": "team-a"}},
]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["models"], [(MODEL, ())]),
        (["models,aep"], [(MODEL, ()), (ENDPOINT, ())]),
        (["model", "a", "b"], [(MODEL, ("a", "b"))]),
        (["model/a", "endpoint/b"], [(MODEL, ("a",)), (ENDPOINT, ("b",))]),
        (["all"], [(kind, ()) for kind in ARKS_KINDS]),
    ],
)
def test_targets_are_parsed(arguments: list[str], expected: list[tuple[object, tuple[str, ...]]]) -> None:
    assert expected == [(target.kind, target.names) for target in targets(arguments)]


def test_a_missing_name_gets_a_suggestion_or_the_namespace_where_it_is() -> None:
    with pytest.raises(Failure) as misspelt:
        select(MODEL, RESOURCES, ["smolm2"], "default")
    assert "did you mean smollm2?" == misspelt.value.next_step
    with pytest.raises(Failure) as elsewhere:
        select(MODEL, RESOURCES, ["qwen"], "default")
    assert "there is one with `-n team-a`" == elsewhere.value.next_step


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("team=red", [True, False]),
        ("team==red,tier!=paid", [True, False]),
        ("team!=red", [False, True]),
        ("team", [True, False]),
        ("!team", [False, True]),
        ("team=blue", [False, False]),
    ],
)
def test_labels_select_resources(selector: str, expected: list[bool]) -> None:
    assert expected == [labels_match(selector).holds(resource) for resource in RESOURCES]
