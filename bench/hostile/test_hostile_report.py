"""Charges of honest clients are compared with what engines made."""

from dataclasses import replace

import pytest

from bench.gateway.load import Outcome, Percentiles
from bench.hostile.report import Charge, Latencies, Memory, report

RIGHT = Charge(answered=10, unknown=0, requests=10, prompt_tokens=120, completion_tokens=160)


def outcome(milliseconds: float) -> Outcome:
    times = Percentiles(milliseconds, milliseconds * 2, milliseconds * 9)
    return Outcome(1.0, {"200": 10}, 0, 0, 0, 0, times, times, times)


@pytest.mark.parametrize("field", ["requests", "prompt_tokens", "completion_tokens"])
@pytest.mark.parametrize("difference", [-1, 1])
def test_any_difference_is_a_wrong_charge(field: str, difference: int) -> None:
    assert RIGHT.is_right
    assert not replace(RIGHT, **{field: getattr(RIGHT, field) + difference}).is_right


def test_requests_without_an_answer_may_be_charged_once_or_not() -> None:
    lost = replace(RIGHT, unknown=1)
    assert lost.is_right
    assert replace(lost, requests=11, prompt_tokens=132, completion_tokens=176).is_right
    assert not replace(lost, requests=12).is_right
    assert not replace(lost, requests=9).is_right


def test_the_report_has_the_ratio_and_the_verdict() -> None:
    wrong = replace(RIGHT, requests=9)
    honest = Latencies(alone=outcome(1), control=outcome(2), beside=outcome(3))
    first, alone, *_, hostile, memory, charges = report(honest, {"hang-ups": 5}, Memory(50, 90, 60), wrong)
    assert first == "honest p99 3.00x of alone, 1.50x of the control"
    assert alone == "alone: p50 1.0 ms, p99 2.0 ms (10 x 200)"
    assert hostile == "hostile: 5 hang-ups"
    assert memory == "Envoy: 50 MB before, at most 90 MB, 60 MB after"
    assert charges.startswith("charges WRONG: 9 requests, ")
