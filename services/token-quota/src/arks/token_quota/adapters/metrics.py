"""Prometheus metrics. The `gateway_*` names and labels are those of existing dashboards for the same resource group.

`token` of gateway_token_usage holds the model's name, as those dashboards expect. gateway_response_process_duration
does not exist here: it timed a processor of answers, and Arks has none.
"""

import collections
from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from arks.token_quota.adapters.histogram import BatchHistogram
from arks.token_quota.domain.posting import Entry, Posting

_USER = ("namespace", "user", "model")
_TOKENS = ("namespace", "user", "token", "type")


class PrometheusMetrics:
    """Implements `Metrics`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._admission = _AdmissionMetrics(registry)
        self._metering = _MeteringMetrics(registry)
        self._gateway = _GatewayMetrics(registry)
        self._decisions: dict[str, Counter] = {}

    def admission_decided(self, reason: str, seconds: float) -> None:
        child = self._decisions.get(reason)
        if child is None:  # `labels` costs more than a lookup, and this is on the path of each request
            child = self._decisions[reason] = self._admission.decisions.labels(reason)
        child.inc()
        self._admission.seconds.observe(seconds)

    def limit_hit(self, namespace: str, token: str, endpoint: str, limit_type: str) -> None:
        self._gateway.limit_hits.labels(namespace, token, endpoint, limit_type).inc()

    def decided_without_limits(self, policy: Literal["open", "closed"]) -> None:
        self._admission.without_limits.labels(policy).inc()

    def counters_rebuilt(self) -> None:
        self._admission.rebuilds.inc()

    def posted(self, posting: Posting) -> None:
        """Grouped, because finding a child by its labels costs more than counting."""
        groups: defaultdict[tuple[str, str], list[Entry]] = defaultdict(list)
        for entry in posting.entries:
            groups[entry.record.token, entry.record.endpoint].append(entry)
        for (token, endpoint), entries in groups.items():
            self._gateway.posted((posting.batch.namespace, token, endpoint), entries)

    def records_taken(self, *, posted: int = 0, known: int = 0, not_understood: int = 0) -> None:
        outcomes = {"posted": posted, "known": known, "not_understood": not_understood}
        for outcome, records in outcomes.items():
            self._metering.records.labels(outcome).inc(records)

    def newest_record(self, age_seconds: float) -> None:
        self._metering.record_age_seconds.set(age_seconds)

    def counters_behind(self, entries: int) -> None:
        self._metering.entries_behind.set(entries)

    def reservations_charged(self, requests: int) -> None:
        self._metering.reservations_charged.inc(requests)

    def ledger_failed(self) -> None:
        self._metering.ledger_errors.inc()


class _AdmissionMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.decisions = Counter("arks_admission_decisions", "Answers of admission", ["reason"], registry=registry)
        self.seconds = Histogram(
            "arks_admission_duration_seconds",
            "Time to answer /v1/admit",
            buckets=(0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.25, 1.0),
            registry=registry,
        )
        self.without_limits = Counter(
            "arks_admission_without_limits",
            "Requests decided by the failure policy because counters could not be read",
            ["policy"],
            registry=registry,
        )
        for policy in ("open", "closed"):  # a series that begins at 1 shows no increase
            self.without_limits.labels(policy)
        self.rebuilds = Counter("arks_counters_rebuilt", "Counters rebuilt from the ledger", registry=registry)


class _MeteringMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.records = Counter("arks_usage_records", "Usage records by outcome", ["outcome"], registry=registry)
        self.record_age_seconds = Gauge(
            "arks_usage_record_age_seconds", "Age of the newest usage record when it was written", registry=registry
        )
        self.entries_behind = Gauge(
            "arks_counters_behind_entries",
            "Sequence numbers of the ledger that the counters do not contain yet",
            registry=registry,
        )
        self.reservations_charged = Counter(
            "arks_reservations_charged", "Reservations that became a charge", registry=registry
        )
        self.ledger_errors = Counter("arks_ledger_errors", "Calls of the ledger that failed", registry=registry)


class _GatewayMetrics:
    """The metrics of existing dashboards."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.limit_hits = Counter(
            "gateway_rate_limit_hits", "Requests rejected by a limit", [*_USER, "rule_type"], registry=registry
        )
        self.requests = Counter("gateway_requests", "Finished requests", [*_USER, "status"], registry=registry)
        self.duration_seconds = BatchHistogram(
            "gateway_request_duration_seconds",
            "Duration of requests",
            _USER,
            buckets=(0.1, 0.5, 1, 2, 5, 10, 20, 30, 45, 60),
            registry=registry,
        )
        self.token_usage = Counter("gateway_token_usage", "Tokens used", _TOKENS, registry=registry)
        self.token_distribution = BatchHistogram(
            "gateway_token_distribution",
            "Tokens of a request",
            _TOKENS,
            buckets=[2**power for power in range(17)],
            registry=registry,
        )
        self._users: dict[tuple[str, str, str], _UserMetrics] = {}

    def posted(self, user: tuple[str, str, str], entries: Sequence[Entry]) -> None:
        """Entries of one user at one model."""
        found = self._users.get(user)
        if found is None:
            found = self._users[user] = _UserMetrics(self, user)
        found.posted(entries)


class _UserMetrics:
    """The series of one user at one model: finding them by their labels costs more than counting."""

    def __init__(self, metrics: _GatewayMetrics, user: tuple[str, str, str]) -> None:
        self._user = user
        self._requests = metrics.requests
        self._statuses: dict[int, Counter] = {}
        self._duration = metrics.duration_seconds.series(user)
        self._tokens = [
            (metrics.token_usage.labels(*user, kind), metrics.token_distribution.series((*user, kind)))
            for kind in ("input", "output")
        ]

    def posted(self, entries: Sequence[Entry]) -> None:
        """A correction adds to sums, but never subtracts: Prometheus counters only grow."""
        ended = [entry.record for entry in entries if entry.revision == 0]
        self._duration.observe([record.duration_milliseconds / 1000 for record in ended])
        for status, requests in collections.Counter([record.status_code for record in ended]).items():
            self._of_status(status).inc(requests)
        prompts = [entry.prompt_tokens for entry in entries if entry.prompt_tokens > 0]
        completions = [entry.completion_tokens for entry in entries if entry.completion_tokens > 0]
        for (usage, distribution), used in zip(self._tokens, (prompts, completions), strict=True):
            usage.inc(sum(used))
            distribution.observe(used)

    def _of_status(self, status: int) -> Counter:
        found = self._statuses.get(status)
        if found is None:
            found = self._statuses[status] = self._requests.labels(*self._user, str(status))
        return found
