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


@dataclass(frozen=True, slots=True)
class Sample:
    raw_labels: bytes
    """What stands between the braces."""
    value: float | None
    """None: it is not a number."""

    def labels(self) -> Mapping[str, str]:
        text = self.raw_labels.decode("utf-8", "replace")
        return {name: _unescape(value) for name, value in _LABEL.findall(text)}


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

    def samples(self, page: bytes) -> dict[str, list[Sample]]:
        """Samples by name; a name that the page does not have is not in the result."""
        text = b"\n" + page
        found: dict[str, list[Sample]] = {}
        for prefix, pattern in self._patterns:
            for rest, labels, value in pattern.findall(text):
                found.setdefault(prefix + rest.decode(), []).append(Sample(labels, _number(value)))
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
