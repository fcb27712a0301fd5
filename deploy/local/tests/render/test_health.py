"""`arks status` names what is wrong, and only that."""

from typing import Any

import pytest

from arks.local.render import kinds
from arks.local.render.health import has_failed, is_ready, problems, rolling_out, waits_for_start, why
from arks.local.render.references import missing_references, references_to_deleted


def resource(kind: kinds.Kind, name: str, *, namespace: str = "default", **parts: Any) -> dict[str, Any]:
    return {"kind": kind.name, "metadata": {"name": name, "namespace": namespace, "generation": 1}, **parts}


def status(ready: str, reason: str = "", message: str = "", **fields: Any) -> dict[str, Any]:
    condition = {"type": "Ready", "status": ready, "reason": reason, "message": message}
    return {"conditions": [condition], "observedGeneration": 1, **fields}


FAILED = resource(
    kinds.APPLICATION,
    "qwen",
    spec={"model": {"name": "qwen"}},
    status=status("False", "RuntimeNotSupport", "vllm is not installed", phase="Failed"),
)
LOADING = resource(kinds.APPLICATION, "qwen", spec={}, status=status("False", "Starting", "loads", phase="Creating"))
ENDPOINT = resource(kinds.ENDPOINT, "qwen", status=status("False", "NoReadyReplicas", "no ready replicas"))


def token(*endpoints: str, **parts: Any) -> dict[str, Any]:
    qos = [{"arksEndpoint": {"name": name}, "quota": {"name": "team"}} for name in endpoints]
    return resource(kinds.TOKEN, "ada", spec={"qos": qos}, **({"status": status("True")} | parts))


def test_a_failed_application_is_one_problem_and_its_endpoint_no_second_one() -> None:
    found = problems({kinds.APPLICATION: [FAILED], kinds.ENDPOINT: [ENDPOINT]})
    assert [("application qwen", "Failed", "vllm is not installed")] == [
        (problem.what, problem.state, problem.message) for problem in found
    ]
    assert "see `arks describe application qwen`" == found[0].next_step


def test_an_endpoint_waits_for_the_application_of_its_served_model() -> None:
    endpoint = {**ENDPOINT, "spec": {"servedModelName": "Org/Qwen"}}
    application = {**FAILED, "spec": {"model": {"name": "qwen"}, "servedModelName": "Org/Qwen"}}
    found = problems({kinds.APPLICATION: [application], kinds.ENDPOINT: [endpoint]})
    assert ["application qwen"] == [problem.what for problem in found]


def test_an_endpoint_without_an_application_is_a_problem() -> None:
    assert ["endpoint qwen"] == [problem.what for problem in problems({kinds.ENDPOINT: [ENDPOINT]})]


def test_what_starts_is_no_problem() -> None:
    assert [] == problems({kinds.APPLICATION: [LOADING]})
    assert "loads" == why(LOADING)


def test_an_application_that_serves_without_its_model_is_a_problem_and_still_ready() -> None:
    gone = "there is no ArksModel qwen in this namespace"
    loaded = {"type": "Loaded", "status": "False", "reason": "ModelNotExist", "message": gone}
    serving = status("True", "Running", phase="Running")
    serving["conditions"] = [loaded, *serving["conditions"]]
    application = resource(kinds.APPLICATION, "qwen", spec={}, status=serving)
    assert is_ready(application)
    assert gone == why(application)
    (problem,) = problems({kinds.APPLICATION: [application]})
    assert ("application qwen", "ModelNotExist", gone) == (problem.what, problem.state, problem.message)


@pytest.mark.parametrize(
    ("condition_status", "reason", "shown"),
    [
        ("False", "NotEnoughMemory", ["NotEnoughMemory"]),
        ("False", "DeadlineExceeded", ["DeadlineExceeded"]),
        ("False", "EngineEnded", []),
        ("False", "WaitingForModel", []),
        ("True", "RollingOut", []),
    ],
)
def test_a_rollout_that_stands_still_is_a_problem_although_old_replicas_serve(
    condition_status: str, reason: str, shown: list[str]
) -> None:
    serving = status("True", "Running", phase="Running")
    progress = {"type": "Progressing", "status": condition_status, "reason": reason, "message": "0 of 2 replicas"}
    serving["conditions"] = [*serving["conditions"], progress]
    application = resource(kinds.APPLICATION, "qwen", spec={}, status=serving)
    assert shown == [problem.state for problem in problems({kinds.APPLICATION: [application]})]


@pytest.mark.parametrize(
    ("applications", "waits"), [([LOADING], True), ([FAILED], False), ([], False), ([FAILED, LOADING], True)]
)
def test_an_endpoint_waits_while_an_application_of_its_model_starts(
    applications: list[dict[str, Any]], waits: bool
) -> None:
    serving = {"model": {"name": "qwen"}}
    assert waits == waits_for_start(ENDPOINT, {kinds.APPLICATION: [item | {"spec": serving} for item in applications]})


def test_a_status_of_an_older_spec_is_not_ready() -> None:
    changed = resource(kinds.APPLICATION, "qwen", status=status("True") | {"observedGeneration": 0})
    assert not is_ready(changed)
    assert "waiting for its controller" == why(changed)


def test_a_key_that_was_revoked_is_no_problem() -> None:
    assert not has_failed(token("qwen", status=status("False", "Disabled", "spec.disabled is true")))
    assert has_failed(token("qwen", status=status("False", "QuotaNotFound", "no quota")))


def test_a_token_that_names_a_missing_endpoint_is_a_problem() -> None:
    found = problems(
        {
            kinds.TOKEN: [token("qwen", "nothere")],
            kinds.ENDPOINT: [resource(kinds.ENDPOINT, "qwen", status=status("True"))],
        }
    )
    assert [("token ada", "names endpoints that do not exist: nothere")] == [
        (item.what, item.message) for item in found
    ]
    assert "create them, or take them out of it with `arks edit token ada`" == found[0].next_step


def test_a_revoked_key_that_names_a_missing_endpoint_is_no_problem() -> None:
    revoked = token("nothere", status=status("False", "Disabled"))
    assert [] == problems({kinds.TOKEN: [revoked], kinds.ENDPOINT: []})


def test_apply_and_token_create_warn_of_names_that_do_not_exist() -> None:
    existing = {
        kinds.TOKEN: [token("smolm2")],
        kinds.ENDPOINT: [resource(kinds.ENDPOINT, "smollm2"), resource(kinds.ENDPOINT, "smolm2", namespace="other")],
    }
    assert [
        "ArksToken ada names ArksEndpoint smolm2, which does not exist in default; did you mean smollm2?",
        "ArksToken ada names ArksQuota team, which does not exist in default",
    ] == missing_references(existing, {("ArksToken", "default", "ada")})
    assert [] == missing_references(existing, {("ArksModel", "default", "ada")})


def test_delete_warns_of_what_still_names_the_deleted() -> None:
    existing = {
        kinds.TOKEN: [token("qwen", "nothere"), token("qwen", namespace="other")],
        kinds.ENDPOINT: [resource(kinds.ENDPOINT, "qwen")],
    }
    both = {("ArksEndpoint", "default", "qwen"), ("ArksQuota", "default", "team"), ("ArksModel", "default", "team")}
    assert ["ArksToken ada still names ArksQuota team"] == references_to_deleted(existing, both)
    assert [] == references_to_deleted(existing, set())


@pytest.mark.parametrize(
    "ended",
    [{"status": status("False", "Disabled")}, {"status": status("False", "Expired")}, {"spec": {"disabled": True}}],
    ids=["revoked", "expired", "just-revoked"],
)
def test_no_command_warns_of_what_an_ended_key_names(ended: dict[str, Any]) -> None:
    """`just-revoked`: token-quota has not written its status yet."""
    named = token("qwen")
    existing = {kinds.TOKEN: [named | ended | {"spec": named["spec"] | ended.get("spec", {})}], kinds.ENDPOINT: []}
    assert [] == references_to_deleted(existing, {("ArksEndpoint", "default", "qwen")})
    assert [] == missing_references(existing, {("ArksToken", "default", "ada")})


@pytest.mark.parametrize(
    ("kind", "reason", "remaining"),
    [
        ("ArksApplication", "RollingOut", "1 of 2 replicas run the newest spec and serve"),
        ("ArksApplication", "Complete", ""),
        ("ArksEndpoint", "RollingOut", ""),
    ],
)
def test_an_application_is_done_when_all_replicas_run_its_spec(kind: str, reason: str, remaining: str) -> None:
    message = "1 of 2 replicas run the newest spec and serve"
    conditions = [{"type": "Progressing", "status": "True", "reason": reason, "message": message}]
    assert remaining == rolling_out({"kind": kind, "status": {"conditions": conditions}})
    assert "" == rolling_out({"kind": kind, "status": {}})
