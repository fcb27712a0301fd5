"""Pvcs and Jobs against golden files; write them anew with REWRITE_GOLDEN=1 and read the difference."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from arks.contracts.resources import ArksModel, ArksModelSpec
from arks.kit.key import Key
from arks.kit.kube.pod_defaults import PodDefaults
from arks.kit.testing.golden import assert_golden, cases
from arks.model_manager.adapters.kubernetes.manifests import (
    StoragePath,
    WorkerOptions,
    job_manifest,
    job_name,
    pvc_manifest,
    storage_path_of,
    template_of,
)
from arks.model_manager.domain.garbage import Watermarks
from arks.model_manager.domain.request import Limits
from arks.model_manager.domain.weights_source import weights_source_of
from arks.model_manager.programs.worker import parse

GOLDEN = Path(__file__).parent / "golden"
CASES = cases(GOLDEN, ".in.yaml")
WORKER = WorkerOptions("registry/arks/model-manager:1", user=1000, limits=Limits(4, None, 268435456))
HUB = "https://huggingface.co"


def model_of(case: str) -> ArksModel:
    given = yaml.safe_load((GOLDEN / f"{case}.in.yaml").read_text())
    given["metadata"]["uid"] = "uid-of-the-model"
    return ArksModel.from_stored(given)


def job_for(model: ArksModel, worker: WorkerOptions = WORKER, pvc_uid: str = "uid-of-the-claim") -> dict[str, Any]:
    storage_path = storage_path_of(Key(model.namespace, model.name), model.spec)
    return job_manifest(model, storage_path, weights_source_of(model.spec, HUB), pvc_uid, worker)


@pytest.mark.parametrize("case", CASES)
def test_pvc_and_job_of_a_model(case: str) -> None:
    model = model_of(case)
    assert model.spec.storage is not None
    assert model.spec.storage.pvc is not None
    made = [pvc_manifest(model, dict(model.spec.storage.pvc.spec)), job_for(model)]
    assert_golden(GOLDEN / f"{case}.out.yaml", yaml.safe_dump_all(made, sort_keys=False, width=1000))


@pytest.mark.parametrize("case", CASES)
def test_the_worker_parses_its_arguments(case: str) -> None:
    model = model_of(case)
    source = weights_source_of(model.spec, HUB)
    options = parse(job_for(model)["spec"]["template"]["spec"]["containers"][0]["args"])
    assert (source.fingerprint, source.kind == "stored") == (options.fingerprint, options.stored)
    if not options.stored:
        assert (source.endpoint, source.revision) == (options.endpoint, options.revision)
        assert (list(source.allow_patterns), list(source.ignore_patterns)) == (options.allow, options.ignore)


def test_watermarks_reach_the_worker() -> None:
    model = model_of(CASES[0])
    worker = replace(WORKER, limits=replace(WORKER.limits, marks=Watermarks(60, 50.5)))
    options = parse(job_for(model, worker)["spec"]["template"]["spec"]["containers"][0]["args"])
    assert (60, 50.5) == (options.high_percent, options.low_percent)


def test_a_storage_path_survives_text() -> None:
    storage_path = StoragePath(Key("team-a", "weights"), "shared/tiny")
    assert storage_path == StoragePath.parse(str(storage_path))
    assert "/models/shared/tiny" == storage_path.mounted


def test_models_of_a_pvc_without_sub_paths_have_separate_directories() -> None:
    spec = ArksModelSpec.model_validate({"model": "acme/tiny", "storage": {"pvc": {"name": "w", "spec": {}}}})
    first, second = (storage_path_of(Key("team-a", name), spec) for name in ("a", "b"))
    assert (first.pvc, "models/team-a/a") == (second.pvc, first.path)
    assert first.path != second.path


def test_the_job_of_a_long_name_fits_into_a_label() -> None:
    first, second = ("m" * 62 + end for end in "ab")
    assert 63 == len(job_name(first)) == len(job_name(second))
    assert job_name(first) != job_name(second)
    assert "arks-worker-tiny" == job_name("tiny")


def test_the_template_changes_only_with_what_a_pod_runs() -> None:
    model = model_of("documented")
    same = template_of(job_for(model))
    storage_path, source = (
        StoragePath(Key("default", "qwen-7b"), "models/default/qwen-7b"),
        weights_source_of(model.spec, HUB),
    )
    assert same == template_of(
        job_manifest(model, storage_path, source, "uid-of-the-claim", WORKER, failures=3, best_bytes=7)
    )
    other_image = WorkerOptions("registry/arks/model-manager:2", user=1000, limits=Limits(4, None, 268435456))
    assert same != template_of(job_for(model, other_image))
    assert same != template_of(job_for(model, pvc_uid="of a pvc that was made anew"))


def test_a_worker_has_the_platform_s_defaults_and_runs_again_when_they_change() -> None:
    given = {
        "imagePullSecrets": [{"name": "registry"}],
        "tolerations": [{"key": "storage", "operator": "Exists"}],
        "env": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}, {"name": "MODEL_NAME", "value": "no"}],
        "resources": {"limits": {"memory": "1Gi"}},
        "caBundle": {"configMap": "roots"},
    }
    worker = replace(WORKER, defaults=PodDefaults.model_validate(given))
    model = model_of("documented")
    job = job_for(model, worker)
    pod = job["spec"]["template"]["spec"]
    assert [{"name": "registry"}] == pod["imagePullSecrets"][-1:]
    assert {"key": "storage", "operator": "Exists"} in pod["tolerations"]
    variables = {variable["name"]: variable.get("value") for variable in pod["containers"][0]["env"]}
    assert ("http://proxy:3128", "/etc/arks/ca/ca.crt") == (variables["HTTPS_PROXY"], variables["SSL_CERT_FILE"])
    assert variables["MODEL_NAME"] != "no"
    assert template_of(job) != template_of(job_for(model))


def test_resources_of_the_platform_replace_those_of_arks() -> None:
    limits = {"limits": {"memory": "1Gi"}}
    worker = replace(WORKER, defaults=PodDefaults.model_validate({"resources": limits}))
    spec = ArksModelSpec.model_validate({"model": "acme/tiny", "storage": {"pvc": {"name": "w", "spec": {}}}})
    model = model_of("documented").model_copy(update={"spec": spec})
    assert limits == job_for(model, worker)["spec"]["template"]["spec"]["containers"][0]["resources"]
