"""Read YAML and JSON text into plain data with the line of each field.

Like kubectl, times stay text. Duplicate keys are errors; in plain YAML the last one would win.
Aliases are expanded within a bound, so that a small text cannot become a huge one.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from arks.contracts.resources import Location

MAX_VALUES = 200_000
"""Values in one document, aliases expanded."""
MAX_DEPTH = 64

try:
    from yaml import CSafeLoader as SafeLoader
except ImportError:  # PyYAML built without libyaml: slower, same result
    from yaml import SafeLoader  # type: ignore[assignment]

_TAG = "tag:yaml.org,2002:"
_TRUE = frozenset({"true", "yes", "on"})


@dataclass(frozen=True, slots=True)
class Problem:
    """An error in the text itself."""

    line: int
    at: Location
    message: str


@dataclass(slots=True)
class Document:
    """One document: its data, the line (from 1) of each field, and its problems."""

    data: Any = None
    lines: dict[Location, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def line(self, at: Location) -> int:
        """Line of a field, or of the nearest field around it."""
        while at and at not in self.lines:
            at = at[:-1]
        return self.lines.get(at, 1)


class _TooLargeError(Exception):
    """The document has too many values, or is nested too deeply."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


def read_documents(text: str) -> Iterator[Document]:
    """Yield the documents of a text. A broken one comes last, with its problem: the text after it cannot be read."""
    text = _join_surrogates(text)
    if (line := _too_deep(text)) is not None:
        yield Document(problems=[Problem(line, (), f"is nested deeper than {MAX_DEPTH} levels")])
        return
    try:
        loader = SafeLoader(text)
    except (yaml.YAMLError, UnicodeError) as error:
        yield Document(problems=[_broken(text, error)])
        return
    try:
        while loader.check_node():
            yield _read_document(loader.get_node())
    except (yaml.YAMLError, UnicodeError) as error:
        yield Document(problems=[_broken(text, error)])
    finally:
        loader.dispose()


_SURROGATE_PAIR = re.compile(r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")


def _join_surrogates(text: str) -> str:
    """Join the two escapes with which JSON writes a character beyond 16 bits: YAML does not support them."""
    if not text.lstrip().startswith(("{", "[")):
        return text
    return _SURROGATE_PAIR.sub(
        lambda pair: pair[1] + (bytes.fromhex(pair[2]) + bytes.fromhex(pair[3])).decode("utf-16-be"), text
    )


def _too_deep(text: str) -> int | None:
    """Line at which nesting exceeds the limit, or None. Composing recurses in C and would overflow its stack."""
    depth = 0
    try:
        for event in yaml.parse(text, Loader=SafeLoader):
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            if depth > MAX_DEPTH:
                return event.start_mark.line + 1 if event.start_mark else 1
    except (yaml.YAMLError, UnicodeError):
        return None  # reading it later finds the same error and reports it
    return None


def _read_document(node: yaml.Node | None) -> Document:
    document = Document()
    if node is not None:
        try:
            document.data = _Reader(document).value(node, ())
        except _TooLargeError as error:
            document.data = None
            document.problems.append(Problem(error.line, (), str(error)))
    return document


def _broken(text: str, error: yaml.YAMLError | UnicodeError) -> Problem:
    """The error as a sentence, without the text around it, which might contain a secret."""
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        context = f" {error.context}" if error.context else ""
        started = f" that starts in line {error.context_mark.line + 1}" if error.context and error.context_mark else ""
        line = min(mark.line, text.rstrip("\n").count("\n")) + 1 if mark else 1
        return Problem(line, (), f"is not valid YAML: {error.problem or 'cannot be read'}{context}{started}")
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return Problem(line, (), "is not valid YAML: holds a character that YAML does not allow")
    return Problem(1, (), "is not valid YAML: holds characters that are not Unicode text")


class _Reader:
    """Turns the nodes of one document into plain data."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._count = 0

    def value(self, node: yaml.Node, at: Location) -> Any:
        self._count += 1
        line = node.start_mark.line + 1
        if self._count > MAX_VALUES:
            raise _TooLargeError(line, f"holds more than {MAX_VALUES} values")
        if len(at) > MAX_DEPTH:
            raise _TooLargeError(line, f"is nested deeper than {MAX_DEPTH} levels")
        self._document.lines.setdefault(at, line)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, at)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*at, position)) for position, item in enumerate(node.value)]
        return self._scalar(node, at)

    def _mapping(self, node: yaml.MappingNode, at: Location) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        own_lines: dict[str, int] = {}
        merged: list[yaml.Node] = []
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if key_node.tag == f"{_TAG}merge":
                merged.append(value_node)
                continue
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag == f"{_TAG}null":
                self._problem(line, at, "has a key that is not text")
                continue
            key = key_node.value
            if key in own_lines:
                self._problem(line, (*at, key), f"is given twice; the first time in line {own_lines[key]}")
                continue
            own_lines[key] = line
            self._document.lines[*at, key] = line
            mapping[key] = self.value(value_node, (*at, key))
        for value_node in merged:
            self._merge(mapping, value_node, at)
        return mapping

    def _merge(self, mapping: dict[str, Any], node: yaml.Node, at: Location) -> None:
        """`<<: *other`: add the keys of `other` that the mapping does not have."""
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        for source in sources:
            if not isinstance(source, yaml.MappingNode):
                self._problem(node.start_mark.line + 1, (*at, "<<"), "must be a mapping to merge")
                continue
            for key, value in self.value(source, (*at, "<<")).items():
                if key not in mapping:
                    self._document.lines[*at, key] = node.start_mark.line + 1
                    mapping[key] = value

    def _scalar(self, node: yaml.Node, at: Location) -> Any:
        kind = node.tag.removeprefix(_TAG)
        text: str = node.value
        match kind:
            case "str" | "timestamp" | "value":
                return text
            case "null":
                return None
            case "bool":
                return text.lower() in _TRUE
            case "int":
                return self._integer(text)
            case "float":
                return self._float(text, node, at)
            case _:
                self._problem(node.start_mark.line + 1, at, f"has the YAML tag {node.tag}, which Arks does not read")
                return None

    def _integer(self, text: str) -> int | str:
        plain = text.replace("_", "").lower()
        if ":" in plain:  # YAML 1.1 reads 1:30 as 90, which is never meant
            return text
        sign = -1 if plain.startswith("-") else 1
        digits = plain.lstrip("+-")
        if digits.startswith(("0b", "0x")):
            return sign * int(digits, 0)
        if len(digits) > 100:  # far above every limit; converting it would take long
            return text
        return sign * int(digits, 8 if len(digits) > 1 and digits.startswith("0") else 10)

    def _float(self, text: str, node: yaml.Node, at: Location) -> float | str | None:
        plain = text.replace("_", "").lower()
        if ":" in plain:
            return text
        if "inf" in plain or "nan" in plain or not math.isfinite(float(plain)):
            self._problem(node.start_mark.line + 1, at, "must be a finite number")
            return None
        return float(plain)

    def _problem(self, line: int, at: Location, message: str) -> None:
        self._document.problems.append(Problem(line, at, message))
