"""`python -m arks.endpoint_router.programs.replay`: what it prints, and its messages about files that it cannot use."""

import json
from pathlib import Path

import pytest

from arks.endpoint_router.programs.replay import main

ENDPOINT = {"apiVersion": "arks.ai/v1", "kind": "ArksEndpoint", "metadata": {"name": "chat", "namespace": "team"}}
REPLICA = {"name": "a-0", "host": "127.0.0.1", "port": 9000, "state": "REPLICA_STATE_READY"}
FACT = {"namespace": "team", "application": "a", "servedModel": "chat", "replicas": [REPLICA]}
OTHER = FACT | {"application": "b", "replicas": [REPLICA | {"name": "b-0", "port": 9001}]}
LOAD = {"namespace": "team", "application": "a", "measuredAt": "2026-01-01T00:00:01Z"}
POLICY = "kind: ArksEndpoint\nspec: {routeConfigs: [{name: arks-application-b, weight: 0}]}\n"


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    lines = [
        {"at": 1767225600.0, "endpoint": ENDPOINT | {"spec": {"defaultWeight": 1}}},
        {"at": 1767225600.0, "replicas": FACT},
        {"at": 1767225600.0, "replicas": OTHER},
        {"at": 1767225601.0, "load": LOAD},
    ]
    path = tmp_path / "trace.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


def test_it_prints_shares_and_decisions_of_both_policies(
    trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    assert 0 == main([str(trace), "--policy", str(policy)])
    printed = json.loads(capsys.readouterr().out)
    assert ("team/chat", 1.0, 1) == (printed["endpoint"], printed["seconds"], printed["reports"])
    assert {"a-0": 0.5, "b-0": 0.5} == printed["recorded"]["shares"]
    assert {"a-0": 1.0} == printed["policy"]["shares"]
    assert ["Routed"] == [decision["reason"] for decision in printed["policy"]["decisions"]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: [", "policy.yaml is not YAML: while parsing a flow node expected the node content"),
        ("kind: ArksModel", "policy.yaml has 0 manifests of an ArksEndpoint, not one"),
        (f"{POLICY}---\n{POLICY}", "policy.yaml has 2 manifests of an ArksEndpoint, not one"),
        ("kind: ArksEndpoint\nspec: {defaultWeight: much}", "spec.defaultWeight"),
        (None, "No such file"),
    ],
)
def test_a_policy_that_cannot_be_used_is_named(
    trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None, message: str
) -> None:
    policy = tmp_path / "policy.yaml"
    if text is not None:
        policy.write_text(text)
    assert 2 == main([str(trace), "--policy", str(policy)])
    error = capsys.readouterr().err
    assert (True, 1) == (message in error, error.count("\n"))


def test_the_endpoint_of_a_file_with_several_manifests_is_the_policy(
    trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(f"kind: ArksModel\n---\n{POLICY}---\n")
    assert 0 == main([str(trace), "--policy", str(policy)])
    assert {"a-0": 1.0} == json.loads(capsys.readouterr().out)["policy"]["shares"]


@pytest.mark.parametrize(("text", "message"), [("", "is empty"), ("x", "is no trace of `arks record`: line 1")])
def test_a_file_that_is_no_trace_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text(text)
    assert 2 == main([str(path)])
    assert f"{path} {message}" in capsys.readouterr().err
