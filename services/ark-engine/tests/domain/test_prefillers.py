"""Prefillers."""

import pytest

from arks.ark_engine.domain.prefillers import PrefillerRecord, addresses, choose


def test_the_prefiller_with_the_fewest_prompts_is_chosen() -> None:
    busy, idle = PrefillerRecord("a:1", in_flight=2), PrefillerRecord("b:1", in_flight=1)
    assert idle is choose([busy, idle], now=0)


def test_a_prefiller_that_failed_is_avoided_for_a_time_that_doubles_until_it_succeeds() -> None:
    record = PrefillerRecord("a:1")
    pauses = []
    for _ in range(7):
        record.failed(now=100.0)
        pauses.append(record.avoided_until - 100.0)
    assert [1, 2, 4, 8, 16, 30, 30] == pauses
    assert (None, record) == (choose([record], now=129.9), choose([record], now=130.0))
    record.succeeded()
    assert record is choose([record], now=0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("10.0.0.5", ["10.0.0.5:62000"]),
        ("prefiller:7", ["prefiller:7"]),
        ("a, b:7 ,", ["a:62000", "b:7"]),
        ("fd00::1", ["[fd00::1]:62000"]),
        ("[fd00::1]", ["[fd00::1]:62000"]),
        ("[fd00::1]:7", ["[fd00::1]:7"]),
    ],
)
def test_prefill_node_ip_names_hosts_with_or_without_ports(text: str, expected: list[str]) -> None:
    assert expected == addresses(text)
