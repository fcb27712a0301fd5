"""The lines of the usage log that the native filter writes: docs/architecture.md fixes their columns."""

import pytest

from arks.endpoint_router.testing.native import call

ID = b"01a22863-f1e8-712f-8cb7-977b1bcd074e"
GRANT = b"chat.completions\t1\tdefault/m/ann/l-1/12/512"


def line(
    usage: bytes | None = b"e,12,3",
    began: bytes = b"1795254321123456789",
    durations: tuple[bytes | None, bytes | None] = (b"2999999", b"1000000"),
    flags: int = 0,
    upstream: bytes | None = b"10.0.0.1:8000",
) -> str:
    (written,) = call("usage_line", ID, GRANT, usage, began, *durations, b"200", b"%d" % flags, b"2", upstream)
    assert written is not None
    return written.decode()


def test_a_line_has_all_columns_in_their_order_between_its_frame_and_newlines() -> None:
    columns = (
        *("2", ID.decode(), "1795254321.123", "2", "1", "200", "-,2", "10.0.0.1:8000"),
        *(GRANT.decode(), "e,12,3", "."),
    )
    assert "\n" + "\t".join(columns) + "\n" == line()


def test_what_is_unknown_is_a_dash() -> None:
    columns = line(None, durations=(None, None), upstream=None).split("\t")
    assert ["-", "-", "-", "-"] == [columns[number] for number in (3, 4, 7, 11)]


def test_milliseconds_of_the_start_keep_their_zeros() -> None:
    assert "1795254321.004" == line(began=b"1795254321004999999").split("\t")[2]


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
    assert f"{names},2" == line(flags=flags).split("\t")[6]
