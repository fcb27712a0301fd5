"""Completion of the shell offers names of what exists."""

from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer._completion_classes import BashComplete

from arks.local.cli import reading
from arks.local.cli.commands import whole_app
from arks.local.cli.failure import Failure
from arks.local.render import kinds

EXISTING = {kinds.APPLICATION: ["app-qwen"], kinds.ENDPOINT: ["qwen", "llama"], kinds.TOKEN: ["ada"]}


def offered(line: str) -> list[str]:
    """What the shell offers for the last word of the line."""
    *written, word = line.split(" ")
    shell = typer.main.get_command(whole_app())
    found = BashComplete(shell, {}, "arks", "_ARKS_COMPLETE").get_completions(written[1:], word)
    return [item.value for item in found]


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(home: object, wanted: list[kinds.Kind]) -> dict[kinds.Kind, list[dict[str, Any]]]:
        return {kind: [{"metadata": {"name": name}} for name in EXISTING.get(kind, [])] for kind in wanted}

    monkeypatch.setattr(reading, "read", read)


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("arks get app ", ["app-qwen"]),
        ("arks describe endpoint/q", ["endpoint/qwen"]),
        ("arks explain ", ["qwen", "llama"]),
        ("arks record l", ["llama"]),
        ("arks chat -m q", ["qwen"]),
        ("arks requests -m q", ["qwen"]),
        ("arks token revoke ", ["ada"]),
        ("arks token create bob -e l", ["llama"]),
        ("arks get end", ["endpoints"]),
    ],
)
def test_names_are_completed(line: str, expected: list[str]) -> None:
    assert expected == offered(line)


@pytest.mark.usefixtures("running")
def test_logs_are_of_applications_and_services(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/metrics.log").write_text("")
    assert ["app-qwen", "gateway", "metrics"] == offered(f"arks --home {tmp_path} logs ")


@pytest.mark.parametrize("line", ["arks explain ", "arks --context prod explain "])
def test_nothing_is_offered_while_arks_does_not_run_or_on_a_cluster(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(home: object, wanted: object) -> None:
        raise Failure("Arks does not run")

    monkeypatch.setattr(reading, "read", read)
    assert [] == offered(line)
