"""Wanted samples out of a Prometheus text page, without reading the rest of it.

A page of a real engine is about 100 KB, nearly all histograms, and dozens of replicas are read five times a second: one
regular expression a name prefix jumps from hit to hit in some 50 us where a full parser takes 15 ms.
Format: https://prometheus.io/docs/instrumenting/exposition_formats (text, version 0.0.4).
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_QUOTED = r'"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+"'
_LABELS = rf'(?:\{{([^"}}\n]*+(?:{_QUOTED}[^"}}\n]*+)*+)\}})?'.encode()
_SAMPLE_TAIL = rb"[ \t]*" + _LABELS + rb"[ \t]+([^ \t\r\n]+)"
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)[ \t]*=[ \t]*"([^"\\]*+(?:\\.[^"\\]*+)*+)"')
_ESCAPE = re.compile(r"\\(.)")
_PREFIX = re.compile(r"[a-z]+[:_]")
_VALUE = re.compile(rb"[^ \t\r\n]+")
SLACK_BYTES = 512
"""A line is searched this near to where the lines before it have moved."""
FULL_READS = 10
"""Every so many readings the whole page is searched: a new line that was not noticed otherwise is read 2 s late."""
LINE_BYTES = 16
"""A page that is longer or shorter by so much may have another line: each of ours has more. Digits change less."""


@dataclass(frozen=True, slots=True)
class Sample:
    raw_labels: bytes
    """What stands between the braces."""
    value: float | None
    """None: it is not a number."""

    def labels(self) -> Mapping[str, str]:
        text = self.raw_labels.decode("utf-8", "replace")
        return {name: _unescape(value) for name, value in _LABEL.findall(text)}


class Layout:
    """Where wanted samples stood on the last page of one engine, which prints the same lines again.

    A page with another length, or without one of the lines near its position, is searched as a whole.
    """

    def __init__(self) -> None:
        self._length = 0
        self._remaining = 0
        self._positions: list[tuple[int, str, bytes, bytes]] = []
        """(offset, name, the line up to its value, labels) in the order of the page."""

    def read(self, text: bytes) -> dict[str, list[Sample]] | None:
        """Return the samples; None if the whole page has to be searched. `text` begins with a line feed."""
        if not self._remaining or abs(len(text) - self._length) >= LINE_BYTES:
            return None
        self._remaining -= 1
        self._length = len(text)
        found: dict[str, list[Sample]] = {}
        last, moved, positions = -1, 0, []
        for offset, name, line, labels in self._positions:
            near = offset + moved
            at = text.find(line, max(last + 1, near - SLACK_BYTES), near + len(line) + SLACK_BYTES)
            value = _VALUE.match(text, at + len(line)) if at >= 0 else None
            if value is None:
                return None
            found.setdefault(name, []).append(Sample(labels, _number(value[0])))
            positions.append((at, name, line, labels))
            last, moved = at, at - offset
        self._positions = positions
        return found

    def keep(self, text: bytes, positions: list[tuple[int, str, bytes, bytes]]) -> None:
        self._length, self._remaining, self._positions = len(text), FULL_READS, sorted(positions)


class PageReader:
    """Finds the samples of the given metric names, each name exactly: not those that it is only the beginning of."""

    def __init__(self, names: Iterable[str]) -> None:
        by_prefix: dict[str, list[str]] = defaultdict(list)
        for name in names:
            found = _PREFIX.match(name)
            prefix = found[0] if found else ""
            by_prefix[prefix].append(name)
        self._patterns = [
            (prefix, re.compile(_line_start(prefix) + _either(prefix, group) + _SAMPLE_TAIL))
            for prefix, group in by_prefix.items()
        ]

    def samples(self, page: bytes, layout: Layout | None = None) -> dict[str, list[Sample]]:
        """Samples by name; a name that the page does not have is not in the result. `layout`: of this engine's pages,
        which costs a tenth of searching each of them.
        """
        text = b"\n" + page
        if layout is not None and (known := layout.read(text)) is not None:
            return known
        found: dict[str, list[Sample]] = {}
        positions: list[tuple[int, str, bytes, bytes]] = []
        for prefix, pattern in self._patterns:
            for match in pattern.finditer(text):
                name, labels = prefix + match[1].decode(), match[2] or b""
                found.setdefault(name, []).append(Sample(labels, _number(match[3])))
                positions.append((match.start(), name, text[match.start() : match.start(3)], labels))
        if layout is not None:
            layout.keep(text, positions)
        return found


def _line_start(prefix: str) -> bytes:
    return b"\n" + re.escape(prefix).encode()


def _either(prefix: str, names: Iterable[str]) -> bytes:
    """Longest first, and nothing of a name may follow: `..._waiting` is not `..._waiting_by_reason`."""
    rests = sorted({re.escape(name[len(prefix) :]) for name in names}, key=len, reverse=True)
    return b"(" + "|".join(rests).encode() + b")(?![a-zA-Z0-9_:])"


def _number(text: bytes) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _unescape(value: str) -> str:
    if "\\" not in value:
        return value
    return _ESCAPE.sub(lambda match: "\n" if match[1] == "n" else match[1], value)
