"""The report puts ratios first and fits a terminal."""

from bench.gateway.load import Outcome, Percentiles
from bench.gateway.measure import Round
from bench.gateway.report import lines
from bench.gateway.scenarios import SCENARIOS, Scenario

CPU = {"Envoy": 90.0, "token-quota": 3.4, "shipper": 12.1, "stores": 1.2}


def measured(cpu: dict[str, float], milliseconds: float = 1.0, statuses: dict[str, int] | None = None) -> Round:
    times = Percentiles(milliseconds, milliseconds * 2, milliseconds * 9)
    counts = {"200": 54321} if statuses is None else statuses
    return Round(Outcome(2.0, counts, 0, 0, 300 * sum(counts.values()), 0, times, times, times), cpu, 0.0123)


def found(scenario: Scenario) -> dict[str, list[Round]]:
    sides = {"plain": [measured({"Envoy": 60.0}, 1.5)], "Arks": [measured(CPU, 2.0)]}
    return {"engine": [measured({})], **sides} if scenario.rate else sides


def named(name: str) -> Scenario:
    return next(scenario for scenario in SCENARIOS if scenario.name == name)


def test_every_scenario_fits_120_columns() -> None:
    for scenario in SCENARIOS:
        for line in lines(scenario, found(scenario)):
            assert len(line) <= 120, line


def test_ratios_come_first() -> None:
    _, speed, cost, *_ = lines(named("json"), found(named("json")))
    assert speed == "  Arks/plain 1.00x requests/s, p50 1.33x, p99 1.33x"
    assert cost.strip() == "Envoy CPU 1.50x, everything else 0.28x (17 us), 0.01 store calls a request"


def test_an_open_loop_shows_what_each_gateway_adds_to_the_engine() -> None:
    _, ratios, *_ = lines(named("json-rate"), found(named("json-rate")))
    assert "added p50 2.00x (1.00/0.50 ms), added p99 2.00x (2.00/1.00 ms)" in ratios


def test_failed_requests_and_different_answers_are_shown() -> None:
    changed = found(named("json")) | {"Arks": [measured(CPU, statuses={"200": 10, "503": 2})]}
    assert "  FAILED Arks: 2 of 12 requests" in list(lines(named("json"), changed))
    shorter = Outcome(2.0, {"200": 10}, 0, 0, 2990, 0, *[Percentiles(1, 1, 1)] * 3)
    changed = found(named("json")) | {"Arks": [Round(shorter, CPU, 0.0)]}
    assert any("differ in size" in line for line in lines(named("json"), changed))


def test_refused_requests_are_expected_near_a_limit() -> None:
    changed = found(named("near")) | {"Arks": [measured(CPU, statuses={"200": 10, "429": 2000})]}
    assert not [line for line in lines(named("near"), changed) if "FAILED" in line]
