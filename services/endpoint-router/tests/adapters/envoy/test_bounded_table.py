"""The tables of a worker of the gateway are bounded, and keep what was used lately."""

from hypothesis import given
from hypothesis import strategies as st

from arks.endpoint_router.testing.leases import new, number, numbers, run


@given(st.lists(st.tuples(st.integers(0, 400), st.binary(max_size=3)), max_size=400))
def test_a_table_is_bounded_and_keeps_what_was_used_lately(steps: list[tuple[int, bytes]]) -> None:
    table = new("table_new", 10, 200)
    recent: list[bytes] = []
    for each, suffix in steps:
        key = number(each % 30) + suffix
        run("table_put", table, key, each)
        recent = [*(known for known in recent if known != key), key][-5:]
        young, young_bytes, old, old_bytes = numbers(run("table_sizes", table))
        assert max(young or 0, old or 0) <= 10
        assert max(young_bytes or 0, old_bytes or 0) <= 200
        assert [number(each)] == run("table_get", table, key)
    assert [] == [key for key in recent if run("table_get", table, key) == [None]]


def test_a_key_that_is_read_survives_any_number_of_others() -> None:
    table = new("table_new", 10, 1000)
    run("table_put", table, b"used", 1)
    for each in range(100):
        run("table_put", table, number(each), each)
        assert [b"1"] == run("table_get", table, b"used")
    assert [None] == run("table_get", table, b"50")
