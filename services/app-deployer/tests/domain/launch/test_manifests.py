"""Manifests against golden files; write them anew with REWRITE_GOLDEN=1 and read the difference."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from arks.app_deployer.adapters.profiles import read_profiles
from arks.app_deployer.domain.launch import drain, manifests, read_ahead
from arks.app_deployer.domain.launch.containers import label_value
from arks.app_deployer.domain.launch.disaggregated_commands import Stage
from arks.app_deployer.domain.launch.disaggregated_manifests import (
    child_name,
    router_account,
    router_deployment,
    router_service,
    stage_services,
    stage_templates,
)
from arks.app_deployer.domain.surge import Rollout
from arks.contracts.resources import ArksApplication, ArksDisaggregatedApplication, ArksInstanceSpec
from arks.events.v1.facts_pb2 import ModelFact
from arks.kit.testing.golden import assert_golden, cases
from arks.kit.types import Json

PROFILES = read_profiles()
GOLDEN = Path(__file__).parent / "golden"
MANIFESTS, DISAGGREGATED = GOLDEN / "manifests", GOLDEN / "disaggregated_manifests"
GRACE_SECONDS = 600.0


def _as_text(objects: list[Json]) -> str:
    return yaml.safe_dump_all([_with_short_drain(item) for item in objects], sort_keys=False, width=1000)


def _with_short_drain(value: Any) -> Any:
    """The script that waits for an idle engine is in one place; what surrounds it is what matters here."""
    if isinstance(value, dict):
        return {name: _with_short_drain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_with_short_drain(item) for item in value]
    scripts = {drain.command(8080, 600, page=page)[2]: f"<drain: {page}>" for page in drain.PAGES}
    scripts[read_ahead.command("", "")[2]] = "<read-ahead>"
    return scripts.get(value, value) if isinstance(value, str) else value


def _model(name: str, **fields: str) -> ModelFact:
    return ModelFact(namespace="default", name=name, ready=True, path=f"/models/models/default/{name}", **fields)  # type: ignore[arg-type]


def _set(app: ArksApplication, rollout: Rollout | None = None) -> Json:
    made = manifests.templates(app, _model(app.spec.model.name), PROFILES, GRACE_SECONDS)
    rollout = rollout or Rollout(app.spec.replicas, 0, 1)
    return manifests.leader_worker_set(app, made, rollout, name=app.name, without_surge=False)


@pytest.mark.parametrize("case", cases(MANIFESTS, ".in.yaml"))
def test_children_of_an_application_are_as_written_down(case: str) -> None:
    app = ArksApplication.from_dict(yaml.safe_load((MANIFESTS / f"{case}.in.yaml").read_text()))
    assert_golden(MANIFESTS / f"{case}.out.yaml", _as_text([_set(app), manifests.application_service(app)]))


@pytest.mark.parametrize("case", cases(DISAGGREGATED, ".in.yaml"))
def test_children_of_a_disaggregated_application_are_as_written_down(case: str) -> None:
    app = ArksDisaggregatedApplication.from_dict(yaml.safe_load((DISAGGREGATED / f"{case}.in.yaml").read_text()))
    model = _model(app.spec.model.name, claim_name="shared")
    objects = []
    for stage in Stage:
        made = stage_templates(app, stage, model, PROFILES, GRACE_SECONDS)
        name = child_name(app.name, stage)
        objects.append(
            manifests.leader_worker_set(app, made, Rollout(1, 1, 0), name=name, part=stage.value, without_surge=False)
        )
    router = router_deployment(app, model, PROFILES, GRACE_SECONDS)
    services = [router_service(app), *stage_services(app, PROFILES)]
    children = [*objects, router, *router_account(app, PROFILES), *services]
    assert_golden(DISAGGREGATED / f"{case}.out.yaml", _as_text(children))


def _app(*, stored: bool = False, **spec: Any) -> ArksApplication:
    fields = {"model": {"name": "m"}, "runtime": "llamacpp", "instanceSpec": {}} | spec
    manifest = {"kind": "ArksApplication", "metadata": {"name": "app", "uid": "u"}, "spec": fields}
    read = ArksApplication.from_stored if stored else ArksApplication.from_dict
    return read({"apiVersion": "arks.ai/v1"} | manifest)


def test_every_field_of_instance_spec_reaches_the_pod() -> None:
    path = MANIFESTS / "every-field-of-instance-spec.in.yaml"
    given = yaml.safe_load(path.read_text())["spec"]["instanceSpec"]
    assert {field.alias for field in ArksInstanceSpec.model_fields.values()} - {"replicas"} == set(given)


def test_replicas_and_surge_make_no_new_revision() -> None:
    few, many = _set(_app(replicas=1), Rollout(1, 1, 0)), _set(_app(replicas=3), Rollout(3, 0, 1))
    template = ("spec", "leaderWorkerTemplate")
    assert few[template[0]][template[1]] == many[template[0]][template[1]]
    assert _revision(few) == _revision(many)
    assert _revision(few) != _revision(_set(_app(runtimeCommonArgs=["--parallel", "2"])))


def _revision(body: Json) -> str:
    revision: str = body["metadata"]["annotations"][manifests.REVISION]
    return revision


def test_labels_of_ours_in_a_stored_application_cannot_be_taken() -> None:
    labels = {"arks.ai/work-load-role": "worker", "arks.ai/disaggregation-role": "router", "team": "a"}
    body = _set(_app(stored=True, instanceSpec={"labels": labels}))
    found = body["spec"]["leaderWorkerTemplate"]["leaderTemplate"]["metadata"]["labels"]
    expected = {"arks.ai/application": "app", "arks.ai/work-load-role": "leader", "arks.ai/model": "m", "team": "a"}
    assert expected == found


def test_the_model_s_pvc_is_the_one_of_its_fact() -> None:
    assert "m" == manifests.pvc_of(_model("m"))
    assert "shared" == manifests.pvc_of(_model("m", claim_name="shared"))
    assert "/models/models/default/m" == manifests.path_of(ModelFact(namespace="default", name="m", path="/srv/m"))


def test_names_too_long_for_a_label_are_cut_and_stay_different() -> None:
    first, second = label_value("a" * 64), label_value("a" * 65)
    assert 63 == len(first) == len(second)
    assert first != second
    assert "a" * 63 == label_value("a" * 63)
