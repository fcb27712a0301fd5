"""Prometheus metrics. The `gateway_*` names and labels are those of existing dashboards for the same resource group.

`token` of gateway_token_usage holds the model's name, as those dashboards expect. gateway_response_process_duration
does not exist here: it timed a processor of answers, and Arks has none.
"""

from collections.abc import Sequence
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from arks.token_quota.adapters.histogram import FastCounter, FastHistogram, Series, SumCounter
from arks.token_quota.domain.posting import Entry, Posting

_USER = ("namespace", "user", "model")
_TOKENS = ("namespace", "user", "token", "type")


class PrometheusAdmissionMetrics:
    """Implements `AdmissionMetrics`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._decisions = Counter("arks_admission_decisions", "Answers of admission", ["reason"], registry=registry)
        self._seconds = Histogram(
            "arks_admission_duration_seconds",
            "Time to answer /v1/admit",
            buckets=(0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.25, 1.0),
            registry=registry,
        )
        self._without_limits = Counter(
            "arks_admission_without_limits",
            "Requests decided by the failure policy because counters could not be read",
            ["policy"],
            registry=registry,
        )
        for policy in ("open", "closed"):  # a series that begins at 1 shows no increase
            self._without_limits.labels(policy)
        self._rebuilds = Counter("arks_counters_rebuilt", "Counters rebuilt from the ledger", registry=registry)
        self._limit_hits = Counter(
            "gateway_rate_limit_hits", "Requests rejected by a limit", [*_USER, "rule_type"], registry=registry
        )
        self._by_reason: dict[str, Counter] = {}

    def admission_decided(self, reason: str, seconds: float) -> None:
        child = self._by_reason.get(reason)
        if child is None:  # `labels` costs more than a lookup, and this is on the path of each request
            child = self._by_reason[reason] = self._decisions.labels(reason)
        child.inc()
        self._seconds.observe(seconds)

    def limit_hit(self, namespace: str, token: str, endpoint: str, limit_type: str) -> None:
        self._limit_hits.labels(namespace, token, endpoint, limit_type).inc()

    def decided_without_limits(self, policy: Literal["open", "closed"]) -> None:
        self._without_limits.labels(policy).inc()

    def counters_rebuilt(self) -> None:
        self._rebuilds.inc()


class PrometheusMeteringMetrics:
    """Implements `MeteringMetrics`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._records = Counter("arks_usage_records", "Usage records by outcome", ["outcome"], registry=registry)
        self._record_age_seconds = Gauge(
            "arks_usage_record_age_seconds", "Age of the newest usage record when it was written", registry=registry
        )
        self._entries_behind = Gauge(
            "arks_counters_behind_entries",
            "Sequence numbers of the ledger that the counters do not contain yet",
            registry=registry,
        )
        self._reservations_charged = Counter(
            "arks_reservations_charged", "Reservations that became a charge", registry=registry
        )
        self._ledger_errors = Counter("arks_ledger_errors", "Calls of the ledger that failed", registry=registry)
        self._gateway = _GatewayMetrics(registry)

    def posted(self, posting: Posting) -> None:
        self._gateway.posted(posting.batch.namespace, posting.entries)

    def records_taken(self, *, posted: int = 0, known: int = 0, not_understood: int = 0) -> None:
        outcomes = {"posted": posted, "known": known, "not_understood": not_understood}
        for outcome, records in outcomes.items():
            self._records.labels(outcome).inc(records)

    def newest_record(self, age_seconds: float) -> None:
        self._record_age_seconds.set(age_seconds)

    def counters_behind(self, entries: int) -> None:
        self._entries_behind.set(entries)

    def reservations_charged(self, requests: int) -> None:
        self._reservations_charged.inc(requests)

    def ledger_failed(self) -> None:
        self._ledger_errors.inc()


class _GatewayMetrics:
    """The metrics of existing dashboards, of requests that have ended."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = FastCounter("gateway_requests", "Finished requests", [*_USER, "status"], registry)
        self._duration_seconds = FastHistogram(
            "gateway_request_duration_seconds",
            "Duration of requests",
            _USER,
            buckets=(0.1, 0.5, 1, 2, 5, 10, 20, 30, 45, 60),
            registry=registry,
        )
        self._tokens = FastHistogram(
            "gateway_token_distribution",
            "Tokens of a request",
            _TOKENS,
            buckets=[2**power for power in range(17)],
            registry=registry,
        )
        SumCounter("gateway_token_usage", "Tokens used", self._tokens, registry)
        self._users: dict[tuple[str, str, str], _UserMetrics] = {}

    def posted(self, namespace: str, entries: Sequence[Entry]) -> None:
        """A correction adds to sums, but never subtracts: Prometheus counters only grow."""
        users = self._users
        for entry in entries:
            record = entry.record
            user = (namespace, record.token, record.endpoint)
            metrics = users.get(user)
            if metrics is None:
                metrics = users[user] = self._user(user)
            if entry.revision == 0:
                metrics.duration.observe(record.duration_milliseconds / 1000)
                self._requests.values[metrics.status_labels(record.status_code)] += 1
            if entry.prompt_tokens > 0:
                metrics.prompt.observe(entry.prompt_tokens)
            if entry.completion_tokens > 0:
                metrics.completion.observe(entry.completion_tokens)

    def _user(self, user: tuple[str, str, str]) -> "_UserMetrics":
        prompt, completion = (self._tokens.series((*user, kind)) for kind in ("input", "output"))
        return _UserMetrics(user, self._duration_seconds.series(user), prompt, completion)


class _UserMetrics:
    """The series of one user at one model: finding them by their labels costs more than counting."""

    __slots__ = ("_statuses", "_user", "completion", "duration", "prompt")

    def __init__(self, user: tuple[str, str, str], duration: Series, prompt: Series, completion: Series) -> None:
        self.duration, self.prompt, self.completion = duration, prompt, completion
        self._user = user
        self._statuses: dict[int, tuple[str, ...]] = {}

    def status_labels(self, status: int) -> tuple[str, ...]:
        found = self._statuses.get(status)
        if found is None:
            found = self._statuses[status] = (*self._user, str(status))
        return found
