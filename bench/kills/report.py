"""Text of the results."""

from collections import Counter
from collections.abc import Iterator, Sequence

from bench.kills.compare import Findings
from bench.kills.outcome import Outcome
from bench.kills.probes import Guard, Sample
from bench.kills.system import Kill

MOST_FAULTS = 20


def lines(
    outcomes: Sequence[Outcome],
    findings: Findings,
    kills: Sequence[Kill],
    samples: Sequence[Sample],
    guards: Sequence[Guard],
) -> Iterator[str]:
    statuses = Counter(outcome.status for outcome in outcomes)
    streams, hung_up = (sum(getattr(each, kind) for each in outcomes) for kind in ("stream", "hung_up"))
    yield f"{len(outcomes):,} requests, {streams:,} streams, {hung_up:,} hung up; {len(kills)} kills"
    yield "statuses: " + ", ".join(f"{status or 'none'} {count:,}" for status, count in sorted(statuses.items()))
    yield f"{'requests':>10} {'tokens charged':>15}"
    for name, count in sorted(findings.classes.items()):
        yield f"{count:>10,} {findings.tokens[name]:>15,}  {name}"
    quiet = [sample for sample in samples if sample.is_quiet(kills)]
    yield f"usage is visible after {_times(quiet)}; all, outages included: {_times(samples)}"
    for guard in guards:
        yield f"{guard.name}: " + ", ".join(f"{status or 'none'} {n:,}" for status, n in sorted(guard.statuses.items()))
    yield f"{len(findings.faults)} faults"
    yield from (f"  FAULT {fault}" for fault in findings.faults[:MOST_FAULTS])


def _times(samples: Sequence[Sample]) -> str:
    times = sorted(sample.visible - sample.ended for sample in samples)
    if not times:
        return "no samples"
    p50, p99 = (times[int(len(times) * part)] for part in (0.5, 0.99))
    return f"p50 {p50} p99 {p99} most {times[-1]} ms ({len(times):,} samples)"
