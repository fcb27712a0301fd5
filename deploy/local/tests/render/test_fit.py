"""Warnings of `arks apply`."""

from typing import Any

from arks.local.render.fit import fit_warnings, may_be_judged

APPLIED = [("default", "qwen")]


def application(status: str, name: str = "qwen") -> dict[str, Any]:
    conditions = [{"type": "Fits", "status": status, "message": "weights take 15.2 GB"}]
    return {
        "kind": "ArksApplication",
        "metadata": {"namespace": "default", "name": name},
        "spec": {"model": {"name": "m"}},
        "status": {"conditions": conditions},
    }


def test_only_applied_applications_that_do_not_fit_are_named() -> None:
    found = [application("False"), application("False", "other")]
    assert ["ArksApplication qwen: weights take 15.2 GB"] == list(fit_warnings(found, APPLIED))
    assert [] == list(fit_warnings([application("True")], APPLIED))


def test_a_condition_is_awaited_only_where_the_sizes_of_the_model_are_known() -> None:
    model: dict[str, Any] = {"metadata": {"namespace": "default", "name": "m"}, "status": {}}
    assert not may_be_judged([application("False")], [model], APPLIED)
    model["status"] = {"memory": {"weightsBytes": 1}}
    assert may_be_judged([application("False")], [model], APPLIED)
    assert not may_be_judged([application("False")], [model], [])
