"""Commands that are meant for a cluster: the options, and what works on one machine only. No cluster is needed."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from arks.kit.errors import Invalid, NotFound, Unavailable
from arks.local.cli.catalog import COMMANDS, ON_ONE_MACHINE
from arks.local.cli.cluster_failure import cluster_failure
from arks.local.cli.home import ClusterHome
from arks.local.cli.main import kubectl, main

KUBECONFIG = """\
current-context: prod
contexts: [{name: prod, context: {cluster: c, user: u, namespace: team-a}}]
clusters: [{name: c, cluster: {server: "http://127.0.0.1:1"}}]
users: [{name: u, user: {token: t}}]
"""
WITHOUT_HOME = {"replay", "fields", "migrate", "completion", "version"}
"""Commands that need no Arks."""
Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    (tmp_path / "config").write_text(KUBECONFIG)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))

    def ended(*arguments: str, entry: Callable[[], None] = main) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["arks", *arguments])
        with pytest.raises(SystemExit) as exit_:
            entry()
        captured = capsys.readouterr()
        return int(exit_.value.code or 0), captured.err or captured.out

    return ended


@pytest.mark.parametrize("command", ON_ONE_MACHINE)
def test_a_command_of_one_machine_names_what_to_use_on_a_cluster(run: Run, command: str) -> None:
    code, message = run("--context", "prod", command)
    assert (2, True) == (code, "works on one machine only" in message and "on a cluster: " in message)


def test_every_other_command_works_on_a_cluster() -> None:
    on_both = {
        "get",
        "describe",
        "top",
        "explain",
        "record",
        "usage",
        "events",
        "requests",
        "token",
        "quota",
        "rollout",
        "chat",
        "wait",
    }
    assert set(COMMANDS) == on_both | set(ON_ONE_MACHINE) | WITHOUT_HOME


def test_a_context_that_does_not_exist_is_an_error_with_a_guess(run: Run) -> None:
    code, message = run("get", "models", "--context", "prd")
    assert (2, True) == (code, "no context 'prd'" in message and "did you mean prod?" in message)


@pytest.mark.parametrize(
    ("entry", "arguments"),
    [
        (main, ["--context", "prod", "get", "models"]),
        (main, ["get", "models", "--context=prod"]),
        (main, ["get", "--context", "prod", "models"]),
        (kubectl, ["get", "models"]),
        (kubectl, ["get", "models", "--context", "prod"]),
    ],
)
def test_the_context_may_stand_anywhere(run: Run, entry: Callable[[], None], arguments: list[str]) -> None:
    code, message = run(*arguments, entry=entry)
    assert (1, True) == (code, "namespaces/team-a/arksmodels" in message and "127.0.0.1:1" in message), message


def test_help_of_the_plugin_needs_no_cluster(run: Run) -> None:
    assert 0 == run("--help", entry=kubectl)[0]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (Invalid('list ArksToken team-a/: arkstokens is forbidden: User "eve" cannot list'), "arkstokens is forbidden"),
        (
            NotFound("list ArksModel x/: could not find the requested resource"),
            "does not know Arks' resources",
        ),
        (Unavailable("list ArksModel x/: Unauthorized"), "rejects the credentials"),
        (Unavailable("there is no ready pod of Arks' nats in namespace arks-system"), "no ready pod"),
    ],
)
def test_errors_of_a_cluster_have_a_next_step(error: Exception, expected: str) -> None:
    failure = cluster_failure(error, ClusterHome("prod", "arks-system"))
    assert expected in str(failure)
    assert not str(failure).startswith("list")
    assert failure.next_step
