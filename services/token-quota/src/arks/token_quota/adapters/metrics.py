"""Prometheus metrics. The `gateway_*` names and labels are those of existing dashboards for the same resource group.

`token` of gateway_token_usage holds the model's name, as those dashboards expect. gateway_response_process_duration
is not kept: it timed a processor on the answer's path, and here there is none.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from arks.token_quota.domain.posting import Entry

_USER = ("namespace", "user", "model")


class Metrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.decisions = Counter("arks_admission_decisions", "Answers of admission", ["reason"], registry=registry)
        self.admission_seconds = Histogram(
            "arks_admission_duration_seconds",
            "Time to answer /v1/admit",
            buckets=(0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.25, 1.0),
            registry=registry,
        )
        self._decided: dict[str, Counter] = {}
        self.failures = Counter(
            "arks_admission_without_limits",
            "Requests decided by the failure policy because counters could not be read",
            ["policy"],
            registry=registry,
        )
        self.rebuilds = Counter("arks_counters_rebuilt", "Counters made again from the ledger", registry=registry)
        self.limit_hits = Counter(
            "gateway_rate_limit_hits", "Requests refused by a limit", [*_USER, "rule_type"], registry=registry
        )
        self.requests = Counter("gateway_requests", "Finished requests", [*_USER, "status"], registry=registry)
        self.duration_seconds = Histogram(
            "gateway_request_duration_seconds",
            "Duration of requests",
            _USER,
            buckets=(0.1, 0.5, 1, 2, 5, 10, 20, 30, 45, 60),
            registry=registry,
        )
        tokens = ("namespace", "user", "token", "type")
        self.token_usage = Counter("gateway_token_usage", "Tokens used", tokens, registry=registry)
        self.token_distribution = Histogram(
            "gateway_token_distribution",
            "Tokens of a request",
            tokens,
            buckets=[2**power for power in range(17)],
            registry=registry,
        )
        self.records = Counter(
            "arks_usage_records", "Usage records by what came of them", ["outcome"], registry=registry
        )
        self.record_age_seconds = Gauge(
            "arks_usage_record_age_seconds", "Age of the newest usage record when it was written", registry=registry
        )
        self.entries_behind = Gauge(
            "arks_counters_behind_entries", "Ledger entries that the counters do not contain yet", registry=registry
        )
        self.reservations_charged = Counter(
            "arks_reservations_charged", "Reservations that became a charge", registry=registry
        )
        self.ledger_errors = Counter("arks_ledger_errors", "Calls of the ledger that failed", registry=registry)

    def decided(self, reason: str, seconds: float) -> None:
        """One answer of admission. `reason` is one of a few."""
        child = self._decided.get(reason)
        if child is None:
            child = self._decided[reason] = self.decisions.labels(reason)
        child.inc()
        self.admission_seconds.observe(seconds)

    def posted(self, entry: Entry) -> None:
        """One new entry of the ledger. A correction changes sums that only grow as far as it adds to them."""
        usage = entry.usage
        who = (usage.namespace, usage.token, usage.endpoint)
        if entry.revision == 0:
            self.requests.labels(*who, str(usage.status_code)).inc()
            self.duration_seconds.labels(*who).observe(usage.duration_milliseconds / 1000)
        for kind, tokens in (("input", entry.prompt_tokens), ("output", entry.completion_tokens)):
            if tokens > 0:
                self.token_usage.labels(*who, kind).inc(tokens)
                self.token_distribution.labels(*who, kind).observe(tokens)
