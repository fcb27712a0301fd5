"""Every kind of difference between engine, clients and ledger is a fault, and nothing else is."""

from dataclasses import replace

import pytest

from arks.contracts.usage import UsageSource
from bench.kills.compare import Charge, Findings, compare, total
from bench.kills.engine import Generated
from bench.kills.outcome import Outcome

START, END, KILL = 10_000, 10_050, 10_100
ENGINE = Charge(UsageSource.ENGINE, 1, 7, 5, START)
RESERVED = Charge(UsageSource.RESERVATION, 1, 25, 16, START)
WITHOUT_USAGE = replace(RESERVED, status=200)
DELIVERED = Charge(UsageSource.DELIVERED, 1, 25, 3, START)
NOTHING = Charge(UsageSource.NONE, 1, 0, 0, START)
WHOLE = Outcome(0, False, 16, 100, START, END, "id", 200, complete=True, usage=(7, 5))
CUT = Outcome(0, True, 16, 100, START, END, "id", 200, hung_up=True, events=3)
GENERATED = Generated(7, 5, finished=True, ended_milliseconds=END)


def judge(
    client: Outcome | None, engine: Generated | None, charge: Charge | None, envoy_kill: int | None = None
) -> Findings:
    kills = [] if envoy_kill is None else [envoy_kill]
    outcomes = [client] if client else []
    return compare(outcomes, {"id": engine} if engine else {}, {"id": charge} if charge else {}, kills)


@pytest.mark.parametrize(
    ("client", "engine", "charge", "kill"),
    [
        (WHOLE, GENERATED, ENGINE, None),
        (CUT, GENERATED, ENGINE, None),
        (None, GENERATED, ENGINE, None),
        (CUT, GENERATED, DELIVERED, None),
        (CUT, GENERATED, replace(DELIVERED, completion_tokens=5), None),
        (None, GENERATED, replace(DELIVERED, completion_tokens=9), None),
        (replace(CUT, stream=False, events=0), GENERATED, replace(DELIVERED, completion_tokens=9), None),
        (replace(CUT, events=0), GENERATED, WITHOUT_USAGE, None),
        (None, GENERATED, WITHOUT_USAGE, None),
        (WHOLE, GENERATED, RESERVED, KILL),
        (None, GENERATED, RESERVED, KILL),
        (None, None, RESERVED, KILL),
        (None, None, NOTHING, None),
        (replace(WHOLE, status=503, usage=None), None, None, None),
        (replace(CUT, request_id="id", events=0), None, replace(DELIVERED, completion_tokens=0), None),
    ],
)
def test_what_the_rules_allow_is_no_fault(
    client: Outcome | None, engine: Generated | None, charge: Charge | None, kill: int | None
) -> None:
    assert judge(client, engine, charge, kill).faults == []


@pytest.mark.parametrize(
    ("client", "engine", "charge", "fault"),
    [
        (WHOLE, GENERATED, replace(ENGINE, completion_tokens=6), "charge differs from the engine"),
        (WHOLE, GENERATED, replace(ENGINE, requests=2), "charged 2 times"),
        (WHOLE, GENERATED, None, "is not charged"),
        (WHOLE, GENERATED, NOTHING, "is not charged"),
        (WHOLE, GENERATED, DELIVERED, "charged as cut"),
        (WHOLE, GENERATED, RESERVED, "no Envoy was killed"),
        (WHOLE, GENERATED, WITHOUT_USAGE, "no Envoy was killed"),
        (CUT, GENERATED, WITHOUT_USAGE, "no Envoy was killed"),
        (replace(CUT, events=0), GENERATED, RESERVED, "no Envoy was killed"),
        (WHOLE, replace(GENERATED, arrivals=2), ENGINE, "more than once"),
        (replace(WHOLE, usage=(7, 4)), GENERATED, ENGINE, "other numbers"),
        (CUT, GENERATED, replace(DELIVERED, completion_tokens=2), "not between"),
        (CUT, GENERATED, replace(DELIVERED, completion_tokens=6), "not between"),
        (CUT, GENERATED, replace(DELIVERED, prompt_tokens=24), "prompt's reservation"),
        (None, GENERATED, replace(DELIVERED, status=200, completion_tokens=9), "not between"),
        (replace(WHOLE, complete=False), None, ENGINE, "never reached the engine"),
        (None, None, RESERVED, "never reached the engine"),
        (WHOLE, None, None, "without the engine"),
    ],
)
def test_what_differs_is_a_fault(
    client: Outcome | None, engine: Generated | None, charge: Charge | None, fault: str
) -> None:
    (found,) = judge(client, engine, charge).faults
    assert fault in found


@pytest.mark.parametrize("kill", [START - 10, END + 1000])
def test_a_reservation_needs_an_envoy_that_was_killed_before_its_line_was_written(kill: int) -> None:
    assert len(judge(WHOLE, GENERATED, RESERVED, kill).faults) == 1


def test_a_reservation_is_exact() -> None:
    (found,) = judge(WHOLE, GENERATED, replace(RESERVED, completion_tokens=15), KILL).faults
    assert "reserved (25, 16)" in found


def test_requests_and_tokens_are_counted_by_class() -> None:
    findings = judge(WHOLE, GENERATED, ENGINE)
    assert (findings.classes["complete"], findings.tokens["complete"]) == (1, 12)
    assert total([ENGINE, ENGINE]) == (2, 14, 10)
