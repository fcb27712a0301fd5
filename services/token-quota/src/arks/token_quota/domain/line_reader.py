"""Reads lines of a gateway's files: those of one read in one call, a tenth of the time of one call a line. If they
are not all as the filter writes them, they are read one by one, so that a damaged line spoils no other.
"""

import re
from collections.abc import Callable
from typing import Any, Final, Generic, NamedTuple, TypeVar

import msgspec

from arks.token_quota.domain import tabbed_lines
from arks.token_quota.domain.lines import EndLine, LeaseLine, LineError, StartLine, is_request_id

Line = TypeVar("Line", bound=msgspec.Struct)
_INDEX: Final = re.compile(r"\$\[([0-9]+)\]").search
"""Which member is wrong, in an error of msgspec."""
_UNUSUAL: Final = (b"\\", b" ", b"\x7f")
"""With none of these in ASCII, all texts are as those of request ids have to be: JSON has no other way to write control
characters.
"""


class Found(NamedTuple, Generic[Line]):
    lines: list[Line]
    bad: list[str]
    """The damaged column of each line that is left out."""


class LineReader(Generic[Line]):
    def __init__(self, types: Any, kinds: tuple[type[Line], ...], read_tabbed: Callable[[str], Line]) -> None:
        """`types`: the union of `kinds`. `read_tabbed`: reads a line of a previous version; raises LineError."""
        self._decoder: msgspec.json.Decoder[Line] = msgspec.json.Decoder(types)
        self._kinds = {f'["{kind.__struct_config__.tag}"'.encode(): kind for kind in kinds}
        self._read_tabbed = read_tabbed

    def read(self, data: bytes) -> Found[Line]:
        """`data`: whole lines with their newlines; empty ones count for nothing."""
        if data.isascii() and not any(byte in data for byte in _UNUSUAL):
            try:
                lines = self._decoder.decode_lines(data)
            except msgspec.DecodeError:
                pass
            else:
                if _is_one_a_line(data, len(lines)):
                    return Found(lines, [])
        return self._read_each(data)

    def read_one(self, data: bytes) -> Line:
        """Raises LineError."""
        try:
            if not data.startswith(b"["):
                return self._read_tabbed(data.decode())
            line = self._decoder.decode(data)
        except UnicodeDecodeError as error:
            raise LineError("encoding") from error
        except msgspec.ValidationError as error:
            raise LineError(self._column(data, error)) from error
        except msgspec.DecodeError as error:
            raise LineError("JSON") from error
        if b"\\u0000" in data:
            raise LineError("NUL")  # no text of the ledger can hold it
        request_id = getattr(line, "request_id", None)
        if request_id is not None and not is_request_id(request_id):
            raise LineError("request id")
        return line

    def _read_each(self, data: bytes) -> Found[Line]:
        found: Found[Line] = Found([], [])
        for line in data.split(b"\n"):
            if not line:
                continue
            try:
                found.lines.append(self.read_one(line))
            except LineError as error:
                found.bad.append(str(error))
        return found

    def _column(self, data: bytes, error: msgspec.ValidationError) -> str:
        index = _INDEX(str(error))
        kind = next((kind for start, kind in self._kinds.items() if data.startswith(start)), None)
        if kind is None:
            return "kind"
        return "number of columns" if index is None else kind.__struct_fields__[int(index[1]) - 1].replace("_", " ")


def _is_one_a_line(data: bytes, arrays: int) -> bool:
    """Whether each line that is not empty is one of the arrays that were decoded.

    A line cannot begin within a text, which has no newline, nor with a bracket within an array, which holds no other.
    So each bracket at the beginning of a line begins one of the arrays; if there are as many of them as arrays, and as
    lines, each line begins one, and none goes on in the next.
    """
    brackets = data.count(b"\n[") + data.startswith(b"[")
    lines_at_least = data.count(b"\n") - data.count(b"\n\n") - data.startswith(b"\n")
    return brackets == lines_at_least == arrays


ENDS: Final = LineReader[EndLine](EndLine, (EndLine,), tabbed_lines.read_end)
"""Of the usage log."""
STARTS: Final = LineReader[LeaseLine | StartLine](
    LeaseLine | StartLine, (LeaseLine, StartLine), tabbed_lines.read_start
)
