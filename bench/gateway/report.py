"""Text of the results: ratios first, then a line for each side."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import median

from bench.gateway.measure import Round
from bench.gateway.scenarios import Scenario
from bench.gateway.sides import ARKS, ENGINE, PLAIN

Rounds = Mapping[str, Sequence[Round]]
Value = Callable[[Round], float]
COLUMNS = 120


def lines(scenario: Scenario, found: Rounds) -> Iterator[str]:
    """Return the lines of one scenario, at most 120 columns each."""
    loop = f"{scenario.rate:g} requests/s" if scenario.rate else f"saturation, {scenario.connections} connections"
    yield f"{scenario.name}: {scenario.title}, {loop}"
    yield f"  {'Arks/plain':<11}{speed_ratios(scenario, found)}"
    yield f"{'':<13}{cost_ratios(found)}"
    for name, rounds in found.items():
        yield from _side(scenario, name, rounds)
    yield from _failures(scenario, found)


def speed_ratios(scenario: Scenario, found: Rounds) -> str:
    """Compare throughput and latency; in an open loop, what each gateway adds to the engine's own time."""
    if scenario.rate:
        kind, name = ("first", "added first") if scenario.engine.pace else ("latency", "added")
        return ", ".join(f"{name} {at} {_added(found, _time(kind, at))}" for at in ("p50", "p99"))
    rate = f"{_ratio(found, lambda measured: measured.outcome.per_second)} requests/s"
    return ", ".join((rate, *(f"{at} {_ratio(found, _time('latency', at))}" for at in ("p50", "p99"))))


def cost_ratios(found: Rounds) -> str:
    """Compare Envoy's CPU; the CPU, in times plain Envoy's too, and the store's work that plain Envoy does not have."""
    envoy = _ratio(found, lambda measured: measured.cpu_us["Envoy"])
    others = _median(found[ARKS], lambda measured: sum(measured.cpu_us.values()) - measured.cpu_us["Envoy"])
    plain = _median(found[PLAIN], lambda measured: measured.cpu_us["Envoy"])
    calls = _median(found[ARKS], lambda measured: measured.store_calls)
    return (
        f"Envoy CPU {envoy}, everything else {others / plain:.2f}x ({others:.0f} us), {calls:.2f} store calls a request"
    )


def _time(kind: str, at: str) -> Value:
    """`kind`: latency, first or gap; `at`: p50, p99 or most."""
    return lambda measured: float(getattr(getattr(measured.outcome, kind), at))


def _ratio(found: Rounds, value: Value) -> str:
    plain = _median(found[PLAIN], value)
    return f"{_median(found[ARKS], value) / plain:.2f}x" if plain > 0 else "-"


def _added(found: Rounds, value: Value) -> str:
    """Return what each gateway adds to the engine's own time, and the ratio of both."""
    own = _median(found[ENGINE], value)
    arks, plain = (_median(found[name], value) - own for name in (ARKS, PLAIN))
    return f"{arks / plain:.2f}x ({arks:.2f}/{plain:.2f} ms)" if plain > 0 else f"- ({arks:.2f}/{plain:.2f} ms)"


def _side(scenario: Scenario, name: str, rounds: Sequence[Round]) -> Iterator[str]:
    """Yield a line, or two where one would be longer than 120 columns."""
    times = f"  {name:<11}{_rates(scenario, rounds)}{_times(scenario, rounds)}"
    used = ", ".join(f"{kind} {median(each.cpu_us[kind] for each in rounds):.0f}" for kind in rounds[0].cpu_us)
    if used and len(times) + len(used) + 6 > COLUMNS:
        yield times
        yield f"{'':<13}us: {used}"
    else:
        yield f"{times}  us: {used}" if used else times


def _rates(scenario: Scenario, rounds: Sequence[Round]) -> str:
    if scenario.rate:
        return ""
    rates = [measured.outcome.per_second for measured in rounds]
    return f"{median(rates):>7,.0f}/s ({min(rates):,.0f}-{max(rates):,.0f})  "


def _times(scenario: Scenario, rounds: Sequence[Round]) -> str:
    if not scenario.engine.pace:
        return f"{_two(rounds, 'latency')} ms"
    most = max(measured.outcome.gap.most for measured in rounds)
    late = sum(measured.outcome.late_gaps for measured in rounds)
    limit = f"{late} over {scenario.gap_limit_ms:g}"
    return f"first {_two(rounds, 'first')} ms, gap {_two(rounds, 'gap')} most {most:.1f} ms ({limit})"


def _two(rounds: Sequence[Round], kind: str) -> str:
    return " ".join(f"{at} {_median(rounds, _time(kind, at)):.2f}" for at in ("p50", "p99"))


def _failures(scenario: Scenario, found: Rounds) -> Iterator[str]:
    for name, rounds in found.items():
        failed = sum(measured.outcome.failed(scenario.expected) for measured in rounds)
        if failed:
            yield f"  FAILED {name}: {failed} of {sum(measured.outcome.requests for measured in rounds)} requests"
    outcomes = [measured.outcome for rounds in found.values() for measured in rounds]
    sizes = {outcome.bytes / outcome.requests for outcome in outcomes if set(outcome.statuses) == {"200"}}
    if len(sizes) > 1:
        yield f"  FAILED: answers of the sides differ in size, {sorted(sizes)} bytes"


def _median(rounds: Sequence[Round], value: Value) -> float:
    return median(map(value, rounds))
