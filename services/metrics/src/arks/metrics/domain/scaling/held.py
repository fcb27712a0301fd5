"""Requests that wait at the gateway, by who holds them."""

from dataclasses import dataclass, field

_VALID_SECONDS = 5.0
"""A holder reports twice a second; one that has ended reports no more."""


@dataclass(slots=True)
class HeldRequests:
    """Of one application."""

    reports: dict[str, tuple[float, int]] = field(default_factory=dict)

    def take(self, holder: str, count: int, at: float) -> bool:
        """Whether these are the first that wait. `at`: monotonic seconds."""
        before = self.count(at)
        self.reports.pop(holder, None)
        if count:
            self.reports[holder] = (at, count)
        return bool(count) and not before

    def count(self, at: float) -> int:
        for holder in [holder for holder, (seen, _) in self.reports.items() if at - seen > _VALID_SECONDS]:
            del self.reports[holder]
        return sum(count for _, count in self.reports.values())
