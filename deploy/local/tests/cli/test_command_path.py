"""`arks` is found after `make up`."""

import sys
from pathlib import Path

import pytest

from arks.local.cli.command_path import command_path_note


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The command of a checkout; the user's home is empty."""
    command = tmp_path / "checkout" / ".venv" / "bin" / "arks"
    command.parent.mkdir(parents=True)
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    monkeypatch.setattr(sys, "argv", [str(command), "up"])
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", "/usr/bin")
    return command


def test_make_up_links_the_command_where_the_path_has_a_directory_of_the_user(
    command: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = tmp_path / "home" / ".local" / "bin" / "arks"
    monkeypatch.setenv("PATH", f"/usr/bin:{link.parent}")
    assert str(link) in command_path_note(link=True)
    assert command == link.resolve()
    assert "" == command_path_note(link=True)


def test_a_link_to_a_removed_checkout_is_replaced(
    command: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = tmp_path / "home" / "bin" / "arks"
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path / "gone")
    monkeypatch.setenv("PATH", f"{link.parent}:/usr/bin")
    command_path_note(link=True)
    assert command == link.resolve()


@pytest.mark.parametrize("link", [True, False])
def test_without_such_a_directory_one_exact_line_is_printed(command: Path, link: bool) -> None:
    assert f'export PATH="{command.parent}:$PATH"' in command_path_note(link=link)


def test_another_program_of_that_name_is_not_replaced(
    command: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "home" / ".local" / "bin" / "arks"
    other.parent.mkdir(parents=True)
    other.write_text("#!/bin/sh\n")
    other.chmod(0o755)
    monkeypatch.setenv("PATH", str(other.parent))
    assert "export PATH" in command_path_note(link=True)
    assert not other.is_symlink()


def test_nothing_is_printed_where_the_command_is_found(command: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(command.parent))
    assert "" == command_path_note(link=False)
