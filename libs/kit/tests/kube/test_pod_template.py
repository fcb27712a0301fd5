from arks.contracts.resources import ArksInstanceSpec, ArksModel, ImagePullSecret
from arks.kit.kube.pod_template import (
    PROBES,
    container_fields,
    owner_reference,
    pod_fields,
    pull_secrets,
    template_metadata,
)

SPEC = ArksInstanceSpec.model_validate(
    {
        "labels": {"team": "a", "arks.ai/application": "forged"},
        "annotations": {"note": "b", "arks.ai/slots": "many"},
        "nodeSelector": {"gpu": "h100"},
        "podSecurityContext": {"runAsUser": 7},
        "securityContext": {"privileged": False},
        "resources": {"limits": {"cpu": "1"}},
        "readinessProbe": {"httpGet": {"path": "/", "port": 1}},
        "env": [{"name": "A", "value": "1"}],
        "volumes": [{"name": "data"}],
    },
    by_alias=True,
    context={"stored": True},
)
"""As an earlier version stored it: new objects may have no keys of our group."""


def test_keys_of_our_group_are_not_taken_from_the_spec() -> None:
    expected = {"labels": {"team": "a", "arks.ai/model": "qwen"}, "annotations": {"note": "b"}}
    assert expected == template_metadata(SPEC, {"arks.ai/model": "qwen"})
    assert {"labels": {}} == template_metadata(ArksInstanceSpec(), {})


def test_fields_of_the_pod_and_of_the_container_differ() -> None:
    assert {"nodeSelector": {"gpu": "h100"}, "securityContext": {"runAsUser": 7}} == pod_fields(SPEC)
    assert {"resources": {"limits": {"cpu": "1"}}} == container_fields(SPEC, ["resources", "lifecycle"])
    assert {"readinessProbe"} == container_fields(SPEC, PROBES).keys()


def test_pull_secrets_are_a_field_only_if_there_are_any() -> None:
    assert {} == pull_secrets([])
    assert {"imagePullSecrets": [{"name": "registry"}]} == pull_secrets([ImagePullSecret(name="registry")])


def test_an_owner_reference_names_the_owner_by_uid() -> None:
    model = ArksModel.from_stored(
        {
            "apiVersion": "arks.ai/v1",
            "kind": "ArksModel",
            "metadata": {"name": "qwen", "uid": "u1"},
            "spec": {"model": "q"},
        }
    )
    assert {
        "apiVersion": "arks.ai/v1",
        "kind": "ArksModel",
        "name": "qwen",
        "uid": "u1",
        "controller": True,
        "blockOwnerDeletion": True,
    } == owner_reference(model)
