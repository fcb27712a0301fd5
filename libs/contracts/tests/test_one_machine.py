"""No field without an effect in silence: each field of what runs engines and downloads is carried out or named."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from arks.contracts.manifests.one_machine import sentence_of, without_effect
from arks.contracts.resources import (
    ArksApplication,
    ArksApplicationSpec,
    ArksDisaggregatedApplication,
    ArksDisaggregatedApplicationSpec,
    ArksInstanceSpec,
    ArksModel,
    ArksModelSpec,
)
from arks.contracts.resources.disaggregated import DisaggregatedWorkload, RouterSpec

CARRIED_OUT: dict[type[Any], set[str]] = {
    ArksApplication: {
        *("replicas", "size", "runtime", "model", "servedModelName", "tensorParallelSize", "runtimeCommonArgs"),
        *("extraOptions", "loading", "rolloutStrategy"),
        *("instanceSpec.env", "instanceSpec.terminationGracePeriodSeconds", "instanceSpec.replicas"),
    },
    ArksDisaggregatedApplication: {
        *("runtime", "model", "servedModelName", "rolloutStrategy", "router.replicas"),
        *(f"{stage}.{name}" for stage in ("prefill", "decode") for name in ("replicas", "size", "runtimeCommonArgs")),
        *("prefill.leaderCommandOverride", "decode.leaderCommandOverride"),
        *(f"decode.instanceSpec.{name}" for name in ("env", "terminationGracePeriodSeconds", "replicas")),
    },
    ArksModel: {"model", "source", "storage.subPath"},
}
"""Fields that one machine carries out or refuses in the status. All others have to be named."""
PARTS: dict[tuple[type[BaseModel], str], type[BaseModel]] = {
    (ArksApplicationSpec, "instanceSpec"): ArksInstanceSpec,
    (ArksDisaggregatedApplicationSpec, "router"): RouterSpec,
    (ArksDisaggregatedApplicationSpec, "prefill"): DisaggregatedWorkload,
    (ArksDisaggregatedApplicationSpec, "decode"): DisaggregatedWorkload,
    (DisaggregatedWorkload, "instanceSpec"): ArksInstanceSpec,
    (RouterSpec, "instanceSpec"): ArksInstanceSpec,
    (ArksModelSpec, "instanceSpec"): ArksInstanceSpec,
}
VALUES: tuple[Any, ...] = ("1", 1, True, ["a"], [{"name": "a"}], {"a": "b"}, "Always", "LWS")
SPECIAL: dict[str, Any] = {
    "loading": "auto",
    "podGroupPolicy": {"volcanoScheduling": {"queue": "q"}},
    "volumeMounts": [{"name": "a", "mountPath": "/a"}],
    "cache": {"nodes": 1},
}
MINIMAL: dict[type[Any], dict[str, Any]] = {
    ArksApplication: {"model": {"name": "m"}, "instanceSpec": {}},
    ArksDisaggregatedApplication: {"model": {"name": "m"}, "router": {}, "prefill": {}, "decode": {}},
    ArksModel: {"model": "m"},
}
SPECS: dict[type[Any], type[BaseModel]] = {
    ArksApplication: ArksApplicationSpec,
    ArksDisaggregatedApplication: ArksDisaggregatedApplicationSpec,
    ArksModel: ArksModelSpec,
}


def paths(model: type[BaseModel]) -> Iterator[str]:
    for field in model.model_fields.values():
        name = str(field.alias)
        part = PARTS.get((model, name))
        if model is ArksModelSpec and name == "storage":
            yield from ("storage.pvc", "storage.subPath")
        elif part is None:
            yield name
        else:
            yield from (f"{name}.{path}" for path in paths(part))


def resource(kind: type[Any], path: str) -> Any:
    """One with a value of any kind at the path that the model takes."""
    *parents, name = path.split(".")
    values = (SPECIAL[name],) if name in SPECIAL else VALUES
    for value in (*values, {"spec": {}}):
        spec = {key: dict(item) if isinstance(item, dict) else item for key, item in MINIMAL[kind].items()}
        at = spec
        for parent in parents:
            at = at.setdefault(parent, {})
        at[name] = value
        manifest = {"apiVersion": "arks.ai/v1", "kind": kind.__name__, "metadata": {"name": "a"}, "spec": spec}
        try:
            return kind.from_dict(manifest)
        except ValueError:
            continue
    raise AssertionError(f"no value for {path}")


FIELDS = [
    pytest.param(kind, path, id=f"{kind.__name__}.{path}")
    for kind, spec in SPECS.items()
    for path in paths(spec)
    if path not in CARRIED_OUT[kind]
]


@pytest.mark.parametrize(("kind", "path"), FIELDS)
def test_each_other_field_is_named_as_without_effect(kind: type[Any], path: str) -> None:
    found = without_effect(resource(kind, path))
    assert any(path == named or path.startswith(f"{named}.") for named in found), found


@pytest.mark.parametrize("kind", list(SPECS))
def test_fields_that_are_carried_out_exist_and_are_not_named(kind: type[Any]) -> None:
    assert set() == CARRIED_OUT[kind] - set(paths(SPECS[kind]))
    given = [path for path in CARRIED_OUT[kind] if path not in {"source", "rolloutStrategy", "model", "runtime"}]
    named = {path: without_effect(resource(kind, path)) for path in given}
    assert {path: [] for path in given} == named


def test_a_variable_from_anything_but_a_secret_is_named() -> None:
    sources = [{"secretKeyRef": {"name": "s", "key": "k"}}, {"fieldRef": {"fieldPath": "status.podIP"}}]
    env = [{"name": f"A{number}", "valueFrom": source} for number, source in enumerate(sources)]
    manifest = {"model": {"name": "m"}, "instanceSpec": {"env": env}}
    application = ArksApplication.from_dict(
        {"apiVersion": "arks.ai/v1", "kind": "ArksApplication", "metadata": {"name": "a"}, "spec": manifest}
    )
    assert ["instanceSpec.env[1].valueFrom.fieldRef"] == without_effect(application)


def test_the_sentence_has_every_field() -> None:
    assert "" == sentence_of([])
    assert "a has no effect on one machine" == sentence_of(["a"])
    assert "a, b have no effect on one machine" == sentence_of(["a", "b"])
