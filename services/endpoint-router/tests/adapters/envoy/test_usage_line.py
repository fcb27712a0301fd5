"""The lines of the usage log that the native filter writes: docs/architecture/leases.md fixes their columns."""

import json
from typing import Any

import pytest

from arks.endpoint_router.testing.native import call

ID = "01a22863-f1e8-712f-8cb7-977b1bcd074e"
GRANT = "default/m/ann/l-1"


def written(
    usage: bytes | None = b"e,12,3",
    began: bytes = b"1795254321123456789",
    durations: tuple[bytes | None, bytes | None] = (b"2999999", b"1000000"),
    flags: int = 0,
    upstream: bytes | None = b"10.0.0.1:8000",
    *,
    id_: str = ID,
) -> str:
    ends = (began, *durations, b"200", b"%d" % flags, b"2", upstream)
    (line,) = call("usage_line", id_.encode(), GRANT.encode(), usage, *ends)
    assert line is not None
    return line.decode()


def line(*arguments: Any, **named: Any) -> list[Any]:
    found: list[Any] = json.loads(written(*arguments, **named))
    return found


def test_a_line_is_an_array_of_all_columns_in_their_order_between_newlines() -> None:
    columns = f'"E","{ID}",1795254321123,2,1,200,"-",2,"10.0.0.1:8000"'
    columns += f',"chat.completions",true,"{GRANT}",12,512,"e",12,3'
    assert f"\n[{columns}]\n" == written()


def test_what_is_unknown_is_zero_or_empty_and_unknown_usage_a_dash() -> None:
    columns = line(None, durations=(None, None), upstream=None)
    assert [0, 0, "", ["-"]] == [columns[3], columns[4], columns[8], columns[14:]]


def test_what_was_delivered_is_one_number() -> None:
    assert ["d", 7] == line(b"d,7")[14:]


@pytest.mark.parametrize("id_", ['a"b', "a\\b", "a\tb\nc", "é"])
def test_any_id_is_one_text_on_one_line(id_: str) -> None:
    assert (id_, 2) == (line(id_=id_)[1], written(id_=id_).count("\n"))


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        (1 << 1, "UH"),
        (1 << 14, "DC"),
        (1 << 5 | 1 << 15, "UF,URX"),
        (1 << 23, "UPE"),
        (1 << 24, "NC"),
        (1 << 29, "UDO"),
    ],
)
def test_response_flags_have_envoys_short_names(flags: int, names: str) -> None:
    assert [names, 2] == line(flags=flags)[6:8]
