"""Lines of a gateway's files: read together, and one by one where one of them is damaged."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arks.token_quota.domain import tabbed_lines
from arks.token_quota.domain.line_reader import ENDS, STARTS, LineReader
from arks.token_quota.domain.lines import EndLine, LeaseLine, LineError, StartLine

NOW = 1_795_254_321_123
UPSTREAM = "127.0.0.1:9001"
ANSWER = (532, 41, 200, "-", 2, UPSTREAM, "chat.completions", True)
END = EndLine("0d3f-1", NOW, *ANSWER, "team/qwen/tom/l1", 100, 512, "e", 21, 53)
LEASE = LeaseLine("l1", NOW, 3, 30, 60, "team/qwen/tom")
START = StartLine("r1", "l1", 10, 20, "completions", NOW)
WITHOUT_LEASE = StartLine("r2", "-", 10, 20, "completions", NOW, "team/qwen/tom")
TABBED_END = f"2\t0d3f-1\t1795254321.123\t532\t41\t200\t-,2\t{UPSTREAM}\tchat.completions\t1\tteam/qwen/tom/l1/100/512"
TABBED = {
    f"{TABBED_END}\te,21,53\t.": END,
    f"L\tl1\t{NOW}\t3\t30\t60\tteam/qwen/tom": LEASE,
    f"S\tr1\tl1\t10\t20\tcompletions\t{NOW}": START,
    f"S\tr2\t-\t10\t20\tcompletions\t{NOW}\tteam/qwen/tom": WITHOUT_LEASE,
}

encode = msgspec.json.encode


def text(*lines: bytes) -> bytes:
    """As the filter writes them into the usage log."""
    return b"".join(b"\n" + line + b"\n" for line in lines)


def changed(line: msgspec.Struct, at: int, value: Any) -> bytes:
    members = msgspec.json.decode(encode(line))
    members[at] = value
    return encode(members)


names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
ids = st.from_regex(r"\A[!-~]{1,128}\Z")
counts = st.integers(0, 2**31 - 1)
times = st.integers(0, 2**33 * 1000)
ends = st.builds(
    EndLine,
    *(ids, times, counts, counts, st.integers(0, 999), names, counts, names, names, st.booleans(), names),
    *(counts, counts, st.sampled_from(["e", "d", "-"]), counts, counts),
)


@given(st.lists(ends))
def test_all_lines_are_read_in_their_order_whatever_their_texts(lines: list[EndLine]) -> None:
    assert (lines, []) == ENDS.read(text(*map(encode, lines)))


@pytest.mark.parametrize(("line", "meaning"), TABBED.items())
def test_a_line_of_a_previous_version_means_the_same(line: str, meaning: msgspec.Struct) -> None:
    reader: LineReader[Any] = ENDS if isinstance(meaning, EndLine) else STARTS
    assert ([meaning, meaning], []) == reader.read(text(line.encode(), encode(meaning)))


@pytest.mark.parametrize(
    ("line", "column"),
    [
        (b"[]", "kind"),
        (b'["E"', "JSON"),
        (b'["X","a"]', "kind"),
        (encode(LEASE), "kind"),
        (b'["E","a"]', "number of columns"),
        (encode(END)[:-1] + b",1]", "number of columns"),
        (encode(END)[:-1], "JSON"),
        (encode(END) + encode(END), "JSON"),
        (changed(END, 1, ""), "request id"),
        (changed(END, 1, "a b"), "request id"),
        (changed(END, 1, "a\tb"), "request id"),
        (changed(END, 1, "x" * 129), "request id"),
        (changed(END, 2, 2**33 * 1000 + 1), "started at milliseconds"),
        (changed(END, 3, -5), "duration milliseconds"),
        (changed(END, 5, 1000), "status"),
        (changed(END, 9, "a\0b"), "NUL"),
        (changed(END, 10, 1), "stream"),
        (changed(END, 14, "x"), "usage"),
        (changed(END, 16, 2**31), "second count"),
        (encode(END).replace(b"qwen", b"\xff"), "encoding"),
        (TABBED_END.encode(), "frame"),
    ],
)
def test_a_damaged_line_names_its_column_and_spoils_no_other(line: bytes, column: str) -> None:
    assert ([END, END], [column]) == ENDS.read(text(encode(END), line, encode(END)))


@pytest.mark.parametrize(
    ("line", "column"),
    [
        (encode(END), "kind"),
        (b"X\ta", "kind of start"),
        (changed(LEASE, 1, ""), "id"),
        (changed(LEASE, 1, "x" * 254), "id"),
        (changed(LEASE, 2, -1), "end milliseconds"),
        (changed(LEASE, 3, -1), "requests"),
        (changed(START, 1, " "), "request id"),
        (changed(START, 3, "ten"), "prompt tokens"),
        (changed(START, 6, 9_999_999_999_999), "at milliseconds"),
    ],
)
def test_a_damaged_start_names_its_column_and_spoils_no_other(line: bytes, column: str) -> None:
    assert ([LEASE, START], [column]) == STARTS.read(b"\n".join((encode(LEASE), line, encode(START), b"")))


@pytest.mark.parametrize(
    ("line", "column"),
    [
        ("", "kind of start"),
        (f"X\tl1\t{NOW}\t3\t30\t60\tteam/qwen/tom", "kind of start"),
        (f"L\tl1\t{NOW}\t3\t30\t60\tteam/qwen/tom\tmore", "kind of start"),
        (f"L\t\t{NOW}\t3\t30\t60\tteam/qwen/tom", "names of a lease"),
        (f"L\t{'x' * 254}\t{NOW}\t3\t30\t60\tteam/qwen/tom", "names of a lease"),
        (f"L\tl1\t{NOW}\t3\t30\t60\ta\0/qwen/tom", "names of a lease"),
        ("L\tl1\t-1\t3\t30\t60\tteam/qwen/tom", "end of a lease"),
        (f"L\tl1\t{NOW}\t-1\t30\t60\tteam/qwen/tom", "amounts of a lease"),
        ("S\tr1\tl1\t10\t20\tcompletions\t9999999999999", "start"),
        (f"S\t \tl1\t10\t20\tcompletions\t{NOW}", "request id"),
        (f"S\tr1\tl1\tten\t20\tcompletions\t{NOW}", "prompt"),
        (f"S\tr1\tl1\t10\t20\tcompletions\t{NOW}\tteam/qwen/tom", "kind of start"),
    ],
)
def test_a_damaged_start_of_a_previous_version_names_its_column(line: str, column: str) -> None:
    with pytest.raises(LineError, match=f"^{column}$"):
        tabbed_lines.read_start(line)


FIRST, SECOND = END, msgspec.structs.replace(END, request_id="0d3f-2", second_count=54)


@pytest.mark.parametrize("between", [b"", b"\n", b"\n\n", b"\n\n\n"])
def test_a_cut_line_is_never_read_as_any_request(between: bytes) -> None:
    """Wherever it is cut, before or after, and whether a newline follows the cut."""
    first, second = encode(FIRST), encode(SECOND)
    of_first, of_second = ([FIRST], [SECOND]) if between else ([], [])
    for at in range(1, len(first)):
        assert of_second == ENDS.read(first[:at] + between + second + b"\n").lines
        assert of_first == ENDS.read(first + between + second[:at] + b"\n").lines
        assert of_second == ENDS.read(first[at:] + between + second + b"\n").lines
        assert [] == ENDS.read(text(first[:at], second[at:])).lines
        assert [SECOND] == ENDS.read(first[:at] + b"\t?\n" + text(second)).lines


@given(
    st.lists(
        st.sampled_from([encode(FIRST), encode(FIRST)[:40], encode(FIRST)[40:], b",", b"\n", b"[", b"]"]), max_size=8
    )
)
def test_lines_read_together_are_those_read_one_by_one(parts: list[bytes]) -> None:
    data = b"".join(parts) + b"\n"
    one_by_one: list[EndLine] = []
    for line in filter(None, data.split(b"\n")):
        try:
            one_by_one.append(ENDS.read_one(line))
        except LineError:
            continue
    assert one_by_one == ENDS.read(data).lines
