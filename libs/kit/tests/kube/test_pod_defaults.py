import pytest
from pydantic import ValidationError

from arks.kit.kube.pod_defaults import NO_DEFAULTS, PodDefaults
from arks.kit.types import Json

PLATFORM = PodDefaults.model_validate(
    {
        "imagePullSecrets": [{"name": "registry"}],
        "nodeSelector": {"pool": "gpu", "zone": "a"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
        "priorityClassName": "engines",
        "runtimeClassName": "nvidia",
        "schedulerName": "volcano",
        "labels": {"team": "platform"},
        "annotations": {"sidecar": "no"},
        "podSecurityContext": {"fsGroup": 1000, "runAsNonRoot": True},
        "securityContext": {"allowPrivilegeEscalation": False},
        "resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "2Gi"}},
        "env": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
        "caBundle": {"configMap": "roots"},
    }
)
BARE: Json = {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "main", "image": "engine"}]}}


def pod(**fields: object) -> Json:
    return {"metadata": {}, "spec": {"containers": [{"name": "main"}], **fields}}


def test_a_pod_without_wishes_gets_everything_of_the_platform() -> None:
    made = PLATFORM.apply(BARE)
    assert {"labels": {"team": "platform", "app": "a"}, "annotations": {"sidecar": "no"}} == made["metadata"]
    variables = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
    assert {
        "imagePullSecrets": [{"name": "registry"}],
        "nodeSelector": {"pool": "gpu", "zone": "a"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
        "priorityClassName": "engines",
        "runtimeClassName": "nvidia",
        "schedulerName": "volcano",
        "securityContext": {"fsGroup": 1000, "runAsNonRoot": True},
        "volumes": [
            {"name": "arks-ca", "configMap": {"name": "roots", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        ],
        "containers": [
            {
                "name": "main",
                "image": "engine",
                "env": [
                    {"name": "HTTPS_PROXY", "value": "http://proxy:3128"},
                    *({"name": name, "value": "/etc/arks/ca/ca.crt"} for name in variables),
                ],
                "securityContext": {"allowPrivilegeEscalation": False},
                "resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "2Gi"}},
                "volumeMounts": [{"name": "arks-ca", "mountPath": "/etc/arks/ca", "readOnly": True}],
            }
        ],
    } == made["spec"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"nodeSelector": {"pool": "a100"}}, {"nodeSelector": {"pool": "a100", "zone": "a"}}),
        ({"runtimeClassName": "kata"}, {"runtimeClassName": "kata"}),
        ({"priorityClassName": "low"}, {"priorityClassName": "low"}),
        ({"securityContext": {"fsGroup": 7}}, {"securityContext": {"fsGroup": 7, "runAsNonRoot": True}}),
        ({"imagePullSecrets": [{"name": "own"}]}, {"imagePullSecrets": [{"name": "own"}, {"name": "registry"}]}),
        ({"imagePullSecrets": [{"name": "registry"}]}, {"imagePullSecrets": [{"name": "registry"}]}),
        (
            {"tolerations": [{"key": "spot", "operator": "Exists"}]},
            {"tolerations": [{"key": "spot", "operator": "Exists"}, {"key": "nvidia.com/gpu", "operator": "Exists"}]},
        ),
    ],
)
def test_what_a_tenant_gives_wins_and_lists_are_joined(given: Json, expected: Json) -> None:
    made = PLATFORM.apply(pod(**given))["spec"]
    assert expected == {name: made[name] for name in expected}


def test_a_variable_of_the_tenant_is_kept() -> None:
    own = [{"name": "HTTPS_PROXY", "value": ""}, {"name": "SSL_CERT_FILE", "value": "/own"}]
    made = PLATFORM.apply(pod(containers=[{"name": "main", "env": own}]))
    names = [variable["name"] for variable in made["spec"]["containers"][0]["env"]]
    assert (own, len(set(names))) == (made["spec"]["containers"][0]["env"][:2], len(names))


def test_a_resource_that_the_tenant_requests_gets_no_limit_that_could_be_less() -> None:
    own = {"requests": {"memory": "64Gi"}, "limits": {"nvidia.com/gpu": 8}}
    made = PLATFORM.apply(pod(containers=[{"name": "main", "resources": own}]))["spec"]["containers"][0]["resources"]
    assert {"requests": {"memory": "64Gi", "cpu": "1"}, "limits": {"nvidia.com/gpu": 8}} == made


def test_init_containers_get_the_same() -> None:
    made = PLATFORM.apply(pod(initContainers=[{"name": "first"}]))["spec"]["initContainers"][0]
    assert "HTTPS_PROXY" in [variable["name"] for variable in made["env"]]


def test_without_defaults_a_template_is_the_same() -> None:
    assert BARE == NO_DEFAULTS.apply(BARE)


def test_the_given_template_is_not_changed() -> None:
    before = {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "main", "image": "engine"}]}}
    PLATFORM.apply(BARE)
    assert before == BARE


def test_an_unknown_field_is_rejected() -> None:
    with pytest.raises(ValidationError, match="nodeselector"):
        PodDefaults.model_validate({"nodeselector": {"a": "b"}})
