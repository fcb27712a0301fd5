"""`kubectl apply` rejects invalid objects with an error that names the field and the rule."""

import json
from typing import Any, NamedTuple

import pytest

from e2e.support.cluster import KubectlError
from e2e.support.tenant import Tenant

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


class Bad(NamedTuple):
    kind: str
    spec: dict[str, Any]
    field: str
    rule: str
    name: str = "bad"


REF: dict[str, Any] = {"model": {"name": "m"}}
APPLICATION = REF | {"instanceSpec": {}}
SPLIT = REF | {part: {"instanceSpec": {}} for part in ("router", "prefill", "decode")}
QOS = {"arksEndpoint": {"name": "m"}}
RULE = {"type": "rpm", "value": 1}

MISTAKES = {
    "unknown runtime": Bad(
        "ArksApplication", APPLICATION | {"runtime": "tgi"}, "spec.runtime", 'supported values: "", "vllm", "sglang"'
    ),
    "fewer than no replicas": Bad(
        "ArksApplication", APPLICATION | {"replicas": -1}, "spec.replicas", "greater than or equal to 0"
    ),
    "no model": Bad("ArksApplication", {"model": {}, "instanceSpec": {}}, "spec.model.name", "Required value"),
    "no instanceSpec": Bad("ArksApplication", REF, "spec.instanceSpec", "Required value"),
    "two sizes": Bad(
        "ArksApplication",
        REF | {"size": 3, "instanceSpec": {"replicas": 2}},
        "spec",
        "set either size or instanceSpec.replicas (deprecated), not two different values",
    ),
    "a field that does not exist": Bad(
        "ArksApplication", APPLICATION | {"replicaz": 3}, "spec.replicaz", "unknown field"
    ),
    "a volume of ours": Bad(
        "ArksApplication",
        REF | {"instanceSpec": {"volumes": [{"name": "models", "emptyDir": {}}]}},
        "spec.instanceSpec",
        "volumes: the name models is reserved for the model's storage",
    ),
    "a name that cannot be a Service's": Bad(
        "ArksApplication", APPLICATION, "metadata.name", "must be a DNS label of at most 46 characters", name="a.b"
    ),
    "a name that a shell would read": Bad(
        "ArksApplication", APPLICATION | {"servedModelName": "a $b"}, "spec.servedModelName", "should match"
    ),
    "another engine prefills": Bad(
        "ArksDisaggregatedApplication", SPLIT | {"runtime": "llamacpp"}, "spec.runtime", 'supported values: ""'
    ),
    "nothing decodes": Bad(
        "ArksDisaggregatedApplication",
        {name: part for name, part in SPLIT.items() if name != "decode"},
        "spec.decode",
        "Required value",
    ),
    "two ports": Bad(
        "ArksDisaggregatedApplication",
        SPLIT | {"router": {"port": 1, "int32": 2, "instanceSpec": {}}},
        "spec.router",
        "set either port or int32 (deprecated), not two different values",
    ),
    "no source in source": Bad(
        "ArksModel", {"model": "m", "source": {}}, "spec.source", "give exactly one of huggingface, "
    ),
    "a path out of the storage": Bad(
        "ArksModel", {"model": "m", "storage": {"subPath": "../other"}}, "spec.storage", "subPath must not hold '..'"
    ),
    "a claim without a spec": Bad(
        "ArksModel", {"model": "m", "storage": {"pvc": {"name": "m"}}}, "spec.storage.pvc.spec", "Required value"
    ),
    "not the address of a hub": Bad(
        "ArksModel",
        {"model": "m", "source": {"huggingface": {"endpoint": "ftp://hub"}}},
        "spec.source.huggingface.endpoint",
        "should match '^https?://",
    ),
    "a weight below nothing": Bad(
        "ArksEndpoint", {"defaultWeight": -1}, "spec.defaultWeight", "greater than or equal to 0"
    ),
    "no key": Bad("ArksToken", {"qos": []}, "spec", "give exactly one of token, tokenSecretRef and tokenHash"),
    "a key that no header can hold": Bad(
        "ArksToken", {"token": "sk-a b", "qos": []}, "spec.token", "must be 1 to 1024 visible ASCII characters"
    ),
    "an endpoint twice": Bad(
        "ArksToken", {"token": "sk-ab", "qos": [QOS, QOS]}, "spec", "each endpoint may appear once in qos"
    ),
    "an unknown limit": Bad(
        "ArksToken",
        {"token": "sk-ab", "qos": [QOS | {"rateLimits": [RULE | {"type": "rph"}]}]},
        "spec.qos[0].rateLimits[0].type",
        'supported values: "rpm", "rpd", "tpm", "tpd"',
    ),
    "a limit twice": Bad(
        "ArksToken",
        {"token": "sk-ab", "qos": [QOS | {"rateLimits": [RULE, RULE]}]},
        "spec.qos[0]",
        "each type of rate limit may appear once",
    ),
    "a budget of nothing": Bad(
        "ArksQuota", {"quotas": [{"value": 5}]}, "spec.quotas[0]", "type is missing: prompt, response or total"
    ),
    "no budget": Bad("ArksQuota", {"quotas": []}, "spec.quotas", "should have at least 1 items"),
}


def document(bad: Bad) -> str:
    metadata = {"name": bad.name}
    return json.dumps({"apiVersion": "arks.ai/v1", "kind": bad.kind, "metadata": metadata, "spec": bad.spec})


async def error_for(tenant: Tenant, mistake: str) -> str:
    with pytest.raises(KubectlError) as refused:
        await tenant.kubectl("apply", "-f", "-", stdin=document(MISTAKES[mistake]))
    return str(refused.value)


async def test_kubectl_apply_rejects_mistakes_and_names_field_and_rule(tenant: Tenant) -> None:
    errors = {mistake: await error_for(tenant, mistake) for mistake in MISTAKES}
    unclear = {name: text for name, text in errors.items() if MISTAKES[name].field not in text}
    unclear |= {name: text for name, text in errors.items() if MISTAKES[name].rule not in text}
    assert {} == unclear
    assert "sk-a b" not in errors["a key that no header can hold"]
    assert "" == await tenant.kubectl("get", "arks", "--output=name")
