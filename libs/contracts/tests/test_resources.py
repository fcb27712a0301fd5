"""The types themselves: kinds, spellings, hiding, writing and reading."""

import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from arks.contracts.resources import (
    KINDS,
    ArksApplication,
    ArksApplicationSpec,
    ArksEndpoint,
    ArksInstanceSpec,
    ArksModel,
    ArksQuota,
    ArksToken,
    ModelRef,
    PreviousKey,
    Resource,
    Secret,
    find_kind,
    hash_key,
    kind_names,
)

KEY = "sk-very-hidden"


def token(**spec: Any) -> ArksToken:
    return ArksToken.from_dict({"metadata": {"name": "t"}, "spec": {"qos": [], **spec}})


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ArksModel", "ArksModel"),
        ("arksmodels", "ArksModel"),
        ("AM", "ArksModel"),
        ("arkapp", "ArksApplication"),
        ("arkdapp", "ArksDisaggregatedApplication"),
        ("aas", "ArksAutoscaler"),
        ("aep", "ArksEndpoint"),
        ("aq", "ArksQuota"),
        ("arkstoken", "ArksToken"),
        ("arkstokens.arks.ai", "ArksToken"),
        ("secrets", "Secret"),
    ],
)
def test_a_kind_is_found_by_every_name_kubectl_takes(name: str, kind: str) -> None:
    assert KINDS[kind] is find_kind(name)


def test_an_unknown_name_finds_no_kind() -> None:
    assert find_kind("pods") is None
    assert "am" in kind_names()


def test_both_spellings_with_one_value_are_fine() -> None:
    spec = ArksApplicationSpec(
        model=ModelRef(name="m"),
        size=2,
        runtime_common_args=["-v"],
        extra_options=["-v"],
        instance_spec=ArksInstanceSpec(replicas=2),
    )
    assert (2, ["-v"]) == (spec.group_size, spec.runtime_args)


def test_an_empty_runtime_is_vllm() -> None:
    spec = ArksApplicationSpec(model=ModelRef(name="m"), runtime="", instance_spec=ArksInstanceSpec())
    assert "vllm" == spec.effective_runtime


def test_a_plaintext_key_is_shown_only_on_demand() -> None:
    resource = token(token=KEY, previous=[{"token": KEY + "2", "until": "2026-01-31T12:00:00Z"}])
    for text in (
        repr(resource),
        str(resource),
        str(resource.to_dict()),
        str(resource.model_dump()),
        resource.model_dump_json(),
    ):
        assert KEY not in text
    assert KEY == resource.to_dict(reveal_secrets=True)["spec"]["token"]
    assert resource.spec.token is not None
    assert KEY == resource.spec.token.get_secret_value()


def test_a_key_is_in_no_validation_error() -> None:
    with pytest.raises(ValidationError) as caught:
        token(token=KEY, tokenHash=KEY)
    assert KEY not in str(caught.value)


def test_the_mask_of_a_hidden_key_is_not_taken_for_a_key() -> None:
    masked = token(token=KEY).to_dict()
    with pytest.raises(ValidationError, match="asterisks"):
        ArksToken.from_dict(masked)


def test_a_token_may_hold_the_hash_of_its_key() -> None:
    assert token(tokenHash=hash_key(b"pepper", KEY)).spec.token is None


def test_secret_values_are_hidden_and_decoded_on_demand() -> None:
    secret = Secret.from_dict(
        {"metadata": {"name": "s"}, "data": {"a": "aGlkZGVu", "b": "%"}, "stringData": {"c": "clear"}}
    )
    assert "hidden" == secret.value("a")
    assert "clear" == secret.value("c")
    assert secret.value("b") is None
    assert secret.value("d") is None
    assert ["b"] == secret.undecodable_keys()
    for text in (repr(secret), str(secret.to_dict())):
        assert "aGlkZGVu" not in text
        assert "clear" not in text
    assert secret == Secret.from_dict(secret.to_dict(reveal_secrets=True))


def test_an_object_from_a_newer_server_keeps_fields_that_we_do_not_know() -> None:
    data = {
        "metadata": {"name": "e", "novel": 1},
        "spec": {"defaultWeight": 2, "canary": {"share": 5}},
        "status": {"later": True},
    }
    endpoint = ArksEndpoint.from_stored(data)
    assert 2 == endpoint.spec.default_weight
    assert {"share": 5} == endpoint.to_dict()["spec"]["canary"]


def test_nulls_in_kubernetes_objects_are_handed_on() -> None:
    data = {
        "metadata": {"name": "a"},
        "spec": {"model": {"name": "m"}, "instanceSpec": {"affinity": {"x": None, "y": []}}},
    }
    assert {"x": None, "y": []} == ArksApplication.from_dict(data).to_dict()["spec"]["instanceSpec"]["affinity"]


def test_resources_are_immutable() -> None:
    endpoint = ArksEndpoint.from_dict({"metadata": {"name": "e"}})
    with pytest.raises(ValidationError):
        endpoint.spec.default_weight = 3  # type: ignore[misc]


def test_times_are_written_in_utc_and_whole_seconds() -> None:
    key = PreviousKey(token=SecretStr("a"), until=datetime(2026, 1, 31, 12, 0, 0, 999, tzinfo=UTC))
    assert "2026-01-31T12:00:00Z" == key.to_dict()["until"]


names = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True)
counts = st.integers(0, 2**63 - 1)
times = st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC)).map(  # noqa: DTZ001  # zone is added
    lambda time: time.replace(microsecond=0).isoformat()
)
metadata = st.fixed_dictionaries(
    {"name": names},
    optional={"namespace": names, "labels": st.dictionaries(names, names, max_size=3), "generation": counts},
)
quotas = st.builds(
    lambda meta, values, period: {
        "metadata": meta,
        "spec": {"quotas": [{"type": kind, "value": value} for kind, value in values.items()], "period": period},
    },
    metadata,
    st.dictionaries(st.sampled_from(["prompt", "response", "total"]), counts, min_size=1),
    st.sampled_from(["lifetime", "day", "month"]),
)
tokens = st.builds(
    lambda meta, key, endpoints, limits, until: {
        "metadata": meta,
        "spec": {
            "token": key,
            "expiresAt": until,
            "previous": [{"token": key + "-old", "until": until}],
            "qos": [
                {"arksEndpoint": {"name": name}, "rateLimits": [{"type": t, "value": v} for t, v in limits.items()]}
                for name in endpoints
            ],
        },
    },
    metadata,
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=40).filter(
        lambda key: set(key) != {"*"}
    ),
    st.lists(names, unique=True, max_size=4),
    st.dictionaries(st.sampled_from(["rpm", "rpd", "tpm", "tpd"]), counts),
    times,
)


@given(st.one_of(st.tuples(st.just(ArksQuota), quotas), st.tuples(st.just(ArksToken), tokens)))
@settings(max_examples=100)
def test_what_is_written_reads_back_the_same(case: tuple[type[Resource], dict[str, Any]]) -> None:
    kind, data = case
    resource = kind.from_dict(data)
    written = resource.to_dict(reveal_secrets=True)
    assert resource == kind.from_dict(written)
    assert written == kind.from_dict(written).to_dict(reveal_secrets=True)


def instance(kind: type[Resource], **spec: Any) -> dict[str, Any]:
    given = {"model": {"name": "m"}} if kind is ArksApplication else {"model": "acme/tiny"}
    return {"metadata": {"name": "x"}, "spec": given | {"instanceSpec": spec}}


@pytest.mark.parametrize("kind", [ArksApplication, ArksModel])
@pytest.mark.parametrize("field", ["labels", "annotations"])
def test_keys_of_arks_are_refused_in_pods_and_tolerated_in_what_is_stored(kind: type[Resource], field: str) -> None:
    data = instance(kind, **{field: {"team": "a", "arks.ai/slots": "many"}})
    with pytest.raises(ValidationError, match=f"{field}: keys that begin with arks.ai/ are reserved for Arks"):
        kind.from_dict(data)
    assert data["spec"]["instanceSpec"] == kind.from_stored(data).to_dict()["spec"]["instanceSpec"]
    assert kind.from_dict(instance(kind, **{field: {"team": "a", "example.com/arks.ai": "b"}}))


def test_an_import_builds_no_validators() -> None:
    """A program builds those of the kinds that it reads; all take 6 MB."""
    code = "from arks.contracts.resources import KINDS; print([k for k, t in KINDS.items() if t.__pydantic_complete__])"
    assert "[]" == subprocess.check_output([sys.executable, "-c", code], text=True, timeout=60).strip()
