"""What the use cases count and time."""

from typing import Literal, Protocol

from arks.token_quota.domain.posting import Posting


class AdmissionMetrics(Protocol):
    def admission_decided(self, reason: str, seconds: float) -> None:
        """`reason` is a code of an answer, the type of a broken limit, or `granted`: a few dozen values."""

    def limit_hit(self, namespace: str, token: str, endpoint: str, limit_type: str) -> None: ...

    def decided_without_limits(self, policy: Literal["open", "closed"]) -> None:
        """The failure policy decided, because counters could not be read."""

    def counters_rebuilt(self) -> None: ...


class MeteringMetrics(Protocol):
    def posted(self, posting: Posting) -> None:
        """Requests, durations and tokens of what was written."""

    def records_taken(self, *, posted: int = 0, known: int = 0, not_understood: int = 0) -> None: ...

    def newest_record(self, age_seconds: float) -> None: ...

    def counters_behind(self, entries: int) -> None: ...

    def reservations_charged(self, requests: int) -> None: ...

    def ledger_failed(self) -> None: ...
