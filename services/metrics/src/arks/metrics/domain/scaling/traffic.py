"""What the gateway counts of an application's requests. Bounded, whatever the load."""

from collections import deque
from dataclasses import dataclass, field

from arks.metrics.domain.scaling.doubt import ANSWERS_SECONDS
from arks.metrics.domain.scaling.parts import work

TIMES_SECONDS = 60.0
"""Percentiles are of the last minute."""
_MOST_TIMES = 512
_MOST_ANSWERS = 64
"""Of a replica, whose times are kept."""
_FEWEST_TIMES = 5
"""Fewer have no percentile."""
_SHARE = 0.95


@dataclass(frozen=True, slots=True)
class Ended:
    """One request of a usage batch."""

    replica: str
    """host:port; empty if it reached none."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    first_token_seconds: float | None = None
    """Of a stream."""
    inter_token_seconds: float | None = None


@dataclass(slots=True)
class Traffic:
    """Counters since the service's start, and the times of the last minute."""

    stage: str = ""
    finished: int = 0
    tokens: float = 0.0
    """Those that are work of the stage."""
    refused: int = 0
    first: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=_MOST_TIMES))
    inter: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=_MOST_TIMES))
    answers: dict[str, deque[float]] = field(default_factory=dict)

    def add(self, ended: Ended, at: float) -> None:
        """`at`: monotonic seconds."""
        self.finished += 1
        self.tokens += work(self.stage, ended.prompt_tokens, ended.completion_tokens)
        if ended.first_token_seconds is not None:
            self.first.append((at, ended.first_token_seconds))
        if ended.inter_token_seconds is not None:
            self.inter.append((at, ended.inter_token_seconds))
        self.answers.setdefault(ended.replica, deque(maxlen=_MOST_ANSWERS)).append(at)

    def answers_of(self, replica: str, at: float) -> int:
        """Answers of the last 30 s, at most 64."""
        return sum(at - answered <= ANSWERS_SECONDS for answered in self.answers.get(replica, ()))

    def all_answers(self, at: float) -> int:
        return sum(self.answers_of(replica, at) for replica in self.answers)

    def keep_replicas(self, existing: set[str]) -> None:
        for replica in self.answers.keys() - existing:
            del self.answers[replica]


def percentile(times: deque[tuple[float, float]], at: float) -> float | None:
    """The 95th percentile of the last minute; None of too few."""
    while times and at - times[0][0] > TIMES_SECONDS:
        times.popleft()
    if len(times) < _FEWEST_TIMES:
        return None
    values = sorted(seconds for _, seconds in times)
    return values[min(len(values) - 1, int(len(values) * _SHARE))]
