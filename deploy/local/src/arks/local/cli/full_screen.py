"""A full-screen view: the terminal's other screen, single keys, and frames of which only changed lines are written.

rich would do it too, with its imports at each start.
"""

import asyncio
import os
import sys
import termios
import tty
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from arks.local.render.top_screen import Line

_OPEN, _CLOSE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
_STYLES = {"title": "\x1b[1m", "bad": "\x1b[31m", "dim": "\x1b[2m"}
_RESET = "\x1b[0m"


class FullScreen:
    """Created by `full_screen`."""

    def __init__(self, write: Callable[[str], None], *, colors: bool) -> None:
        self._write = write
        self._colors = colors
        self._shown: list[Line] = []
        self._size = (0, 0)

    def show(self, lines: Sequence[Line], size: tuple[int, int]) -> None:
        """Write the lines that differ from those on the screen; all after a change of the size."""
        parts: list[str] = []
        if size != self._size:
            parts.append("\x1b[2J")
            self._shown, self._size = [], size
        for number in range(max(len(lines), len(self._shown))):
            line = lines[number] if number < len(lines) else Line("")
            if number >= len(self._shown) or self._shown[number] != line:
                parts.append(f"\x1b[{number + 1};1H{self._styled(line)}\x1b[K")
        self._shown = list(lines)
        if parts:
            self._write("".join(parts))

    def _styled(self, line: Line) -> str:
        return f"{_STYLES[line.style]}{line.text}{_RESET}" if self._colors and line.style else line.text


@contextmanager
def full_screen(keys: "asyncio.Queue[str]") -> Iterator[FullScreen]:
    """Take over the terminal; keys that are pressed go to the queue. The terminal is restored in any case."""
    descriptor = sys.stdin.fileno()
    former = termios.tcgetattr(descriptor)
    loop = asyncio.get_running_loop()

    def read() -> None:
        for key in os.read(descriptor, 64).decode(errors="ignore"):
            if not keys.full():
                keys.put_nowait(key)

    def write(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    tty.setcbreak(descriptor)
    loop.add_reader(descriptor, read)
    write(_OPEN)
    try:
        yield FullScreen(write, colors="NO_COLOR" not in os.environ)
    finally:
        loop.remove_reader(descriptor)
        write(_CLOSE)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, former)
