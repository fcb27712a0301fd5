"""Requests that wait at the gateway for a replica, summed over the demand reports of who holds them."""

from dataclasses import dataclass, field

_VALID_SECONDS = 5.0
"""A holder reports twice a second; one that has ended reports no more."""


@dataclass(slots=True)
class HeldRequests:
    """Of one application or endpoint."""

    reports: dict[str, tuple[float, int, float]] = field(default_factory=dict)
    """When it was received, how many wait, since when."""

    def take(self, holder: str, count: int, at: float, seconds: float = 0.0) -> bool:
        """Whether these are the first that wait. `at`: monotonic seconds; `seconds`: how long some have waited."""
        before = self.count(at)
        self.reports.pop(holder, None)
        if count:
            self.reports[holder] = (at, count, at - seconds)
        return bool(count) and not before

    def count(self, at: float) -> int:
        for holder in [holder for holder, (seen, *_) in self.reports.items() if at - seen > _VALID_SECONDS]:
            del self.reports[holder]
        return sum(count for _, count, _ in self.reports.values())

    def seconds(self, at: float) -> float:
        """How long requests have waited without a break; 0 while none waits."""
        return at - min((since for _, count, since in self.reports.values() if count), default=at)
