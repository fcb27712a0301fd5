"""The command's own tables equal those of the contracts, which it does not import for speed."""

import pytest

from arks.contracts.resources import KINDS
from arks.local.render import kinds
from arks.local.render.columns import columns_of


def test_kinds_have_the_names_of_the_contracts() -> None:
    expected = [
        (kind.__name__, kind.singular, kind.plural, tuple(kind.short_names), kind.group) for kind in KINDS.values()
    ]
    assert sorted(expected) == sorted(
        (kind.name, kind.singular, kind.plural, kind.short, kind.group) for kind in kinds.KINDS
    )


@pytest.mark.parametrize("kind", kinds.ARKS_KINDS, ids=lambda kind: kind.name)
def test_columns_of_kubectl_have_the_same_names(kind: kinds.Kind) -> None:
    ours = {column.name for column in columns_of(kind)}
    only_there = {"Driver", "Exceeded"} | ({"Replicas"} if kind is kinds.APPLICATION else set())
    assert {column.name for column in KINDS[kind.name].columns} - only_there <= ours


@pytest.mark.parametrize(
    "name", ["am", "ArksModels", "model", "models", "arksmodel", "arksmodels.arks.ai", "ArksModel"]
)
def test_a_kind_is_found_by_all_names_of_kubectl(name: str) -> None:
    assert kinds.MODEL is kinds.find_kind(name)


def test_applications_have_a_short_name_of_their_own() -> None:
    assert kinds.APPLICATION is kinds.find_kind("app")
    assert kinds.find_kind("pods") is None
