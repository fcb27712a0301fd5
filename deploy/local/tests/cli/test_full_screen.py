"""A full-screen view: what is written of each frame, and the terminal afterwards."""

import asyncio
import os
import pty
import sys
import termios

import pytest

from arks.local.cli.full_screen import FullScreen, full_screen
from arks.local.render.top_screen import Line

SIZE = (80, 24)


def test_only_changed_lines_are_written() -> None:
    written: list[str] = []
    terminal = FullScreen(written.append, colors=True)
    terminal.show([Line("a"), Line("b", "bad"), Line("c")], SIZE)
    terminal.show([Line("a"), Line("B", "bad")], SIZE)
    terminal.show([Line("a"), Line("B", "bad")], SIZE)
    terminal.show([Line("a")], (100, 24))
    assert [
        "\x1b[2J\x1b[1;1Ha\x1b[K\x1b[2;1H\x1b[31mb\x1b[0m\x1b[K\x1b[3;1Hc\x1b[K",
        "\x1b[2;1H\x1b[31mB\x1b[0m\x1b[K\x1b[3;1H\x1b[K",
        "\x1b[2J\x1b[1;1Ha\x1b[K",
    ] == written


def test_no_colors_if_they_are_not_wanted() -> None:
    written: list[str] = []
    FullScreen(written.append, colors=False).show([Line("b", "bad")], SIZE)
    assert "\x1b[31m" not in written[0]


async def test_keys_arrive_and_the_terminal_is_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    outer, inner = pty.openpty()
    with os.fdopen(inner, "r+b", buffering=0) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        before = termios.tcgetattr(inner)
        keys: asyncio.Queue[str] = asyncio.Queue(maxsize=2)
        with pytest.raises(ValueError, match="a fault"), full_screen(keys):
            assert before != termios.tcgetattr(inner)
            os.write(outer, b"s?q")
            async with asyncio.timeout(30):
                assert ("s", "?") == (await keys.get(), await keys.get())
            raise ValueError("a fault")
        assert before == termios.tcgetattr(inner)
    os.close(outer)
