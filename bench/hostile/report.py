"""Text of the results, and whether charges are right."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bench.gateway.load import Outcome

PROMPT_TOKENS, COMPLETION_TOKENS = 12, 16
"""Of each answer of bench/native/engine.c."""


@dataclass(frozen=True)
class Charge:
    """Of the honest key."""

    answered: int
    unknown: int
    """Requests without an answer: an engine may have made one."""
    requests: int
    prompt_tokens: int
    completion_tokens: int

    @property
    def is_right(self) -> bool:
        """Each answer is charged as the engine counted it, and nothing else. Requests without an answer may be."""
        whole = (PROMPT_TOKENS * self.answered, COMPLETION_TOKENS * self.answered)
        if not self.unknown:
            return (self.answered, *whole) == (self.requests, self.prompt_tokens, self.completion_tokens)
        charged = self.answered <= self.requests <= self.answered + self.unknown
        return charged and self.prompt_tokens >= whole[0] and self.completion_tokens >= whole[1]


@dataclass(frozen=True)
class Memory:
    """Of Envoy, resident, in MB."""

    before: float
    most: float
    after: float


@dataclass(frozen=True)
class Latencies:
    """Of the honest load."""

    alone: Outcome
    control: Outcome
    """Beside hostile clients of another gateway on the same machine."""
    beside: Outcome
    """Beside hostile clients of the same gateway."""


def report(honest: Latencies, hostile: Mapping[str, int], memory: Memory, charge: Charge) -> Iterator[str]:
    beside = honest.beside.latency.p99
    yield f"honest p99 {_ratio(beside, honest.alone)} of alone, {_ratio(beside, honest.control)} of the control"
    yield f"alone: {_line(honest.alone)}"
    yield f"beside hostile clients of a plain Envoy (control): {_line(honest.control)}"
    yield f"beside hostile clients of the gateway: {_line(honest.beside)}"
    yield "hostile: " + ", ".join(f"{count} {name}" for name, count in hostile.items())
    yield f"Envoy: {memory.before:.0f} MB before, at most {memory.most:.0f} MB, {memory.after:.0f} MB after"
    verdict = "right" if charge.is_right else "WRONG"
    yield (
        f"charges {verdict}: {charge.requests} requests, {charge.prompt_tokens} + {charge.completion_tokens} tokens, "
        f"for {charge.answered} answers and {charge.unknown} requests without one"
    )


def _ratio(milliseconds: float, base: Outcome) -> str:
    return f"{milliseconds / base.latency.p99:.2f}x" if base.latency.p99 else "-"


def _line(outcome: Outcome) -> str:
    latency = outcome.latency
    statuses = ", ".join(f"{number} x {status}" for status, number in sorted(outcome.statuses.items()))
    lost = f", {outcome.broken} broken, {outcome.unsent} unsent" if outcome.broken or outcome.unsent else ""
    return f"p50 {latency.p50:.1f} ms, p99 {latency.p99:.1f} ms ({statuses}{lost})"
