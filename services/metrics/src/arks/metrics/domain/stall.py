"""Engines that have work and do none: slots busy, and nothing that moves with work moves.

Running and waiting requests do not count as movement: clients come and go at a stuck engine too. What counts is named
by each engine (`Engine`): steps, tokens, and the KV cache, which a long prompt fills step by step.
"""

from dataclasses import dataclass

from arks.metrics.domain.engines import Snapshot

HELD_SECONDS = 10.0
"""Requests that run for so long without movement at an engine that holds its gauges are none: SGLang before July 2026
leaves them for up to 30 s. It prints new numbers every 40 steps, which take 4 s at 100 ms each.
"""
LONGEST_GAP_SECONDS = 2.0
"""Time that one reading adds at most: an engine that does not answer may be in a long step."""


@dataclass(frozen=True, slots=True)
class Stall:
    """For how long an engine has had work without movement, as far as it answered."""

    read_at: float
    """Monotonic."""
    seen: Snapshot
    seconds: float = 0.0

    def after(self, snapshot: Snapshot, now: float) -> "Stall":
        """The stall after one more reading."""
        if not (self.seen.busy and snapshot.busy) or _movement(snapshot) != _movement(self.seen):
            return Stall(now, snapshot)
        return Stall(now, snapshot, self.seconds + min(now - self.read_at, LONGEST_GAP_SECONDS))

    @property
    def held(self) -> bool:
        """Whether the running requests are those of before, at an engine that holds its gauges. A queue shows work."""
        return self.seconds >= HELD_SECONDS and self.seen.steps is not None and not self.seen.waiting_requests


def _movement(snapshot: Snapshot) -> tuple[float | None, ...]:
    return snapshot.steps, snapshot.prompt_tokens, snapshot.generation_tokens, snapshot.kv_cache_usage_ratio
