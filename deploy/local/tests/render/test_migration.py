"""What `arks migrate` reports about the resources of the Go implementation."""

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from arks.kit.testing.golden import assert_golden
from arks.local.cli.main import main
from arks.local.render.migration import Finding, findings, objects_of, ownership_commands

GOLDEN = Path(__file__).parent / "golden"
DUMP = GOLDEN / "migration.in.yaml"
"""A cluster as `kubectl get -A -o yaml` prints it: with status, managed fields and children."""


@pytest.fixture(scope="module")
def objects() -> list[Any]:
    return list(objects_of(list(yaml.safe_load_all(DUMP.read_text()))))


def test_every_kind_of_change_is_reported(objects: list[Any]) -> None:
    text = "".join(f"{found.about}: {found.level}: {found.text}\n" for found in findings(objects))
    assert_golden(GOLDEN / "migration.out.txt", text)


def test_no_key_of_a_token_is_in_a_report(objects: list[Any]) -> None:
    assert "sk-" in DUMP.read_text()
    assert "sk-" not in str(findings(objects)) + str(ownership_commands(objects))


def test_a_command_gives_each_route_without_owner_to_its_endpoint(objects: list[Any]) -> None:
    [command] = ownership_commands(objects)
    words = shlex.split(command)
    assert ["kubectl", "-n", "team-a", "patch", "httproute", "qwen", "--type", "merge", "-p"] == words[:-1]
    owner = json.loads(words[-1])["metadata"]["ownerReferences"]
    expected = {"apiVersion": "arks.ai/v1", "kind": "ArksEndpoint", "name": "qwen", "uid": "uid-of-qwen"}
    assert [{**expected, "controller": True, "blockOwnerDeletion": True}] == owner


def test_a_resource_of_today_has_nothing_to_report_but_what_changes_for_all() -> None:
    spec = {"replicas": 1, "runtime": "llamacpp", "model": {"name": "m"}, "instanceSpec": {}}
    application = {"apiVersion": "arks.ai/v1", "kind": "ArksApplication", "metadata": {"name": "a"}, "spec": spec}
    [found] = findings([application])
    assert isinstance(found, Finding)
    assert "replaced once" in found.text


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    """The exit code of `arks migrate`."""
    monkeypatch.setattr(sys, "argv", ["arks", "migrate", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code or 0


def test_the_command_fails_if_a_resource_would_be_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert 1 == run(monkeypatch, "-f", str(DUMP))
    assert capsys.readouterr().out.endswith("11 objects, 2 errors\n")
    (tmp_path / "x.yaml").write_text("a: [")
    assert 2 == run(monkeypatch, "-f", str(tmp_path / "x.yaml"))
    assert "is not YAML" in capsys.readouterr().err


def test_the_command_prints_only_commands(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert 0 == run(monkeypatch, "-f", str(DUMP), "--take-ownership")
    assert 1 == len(capsys.readouterr().out.splitlines())
