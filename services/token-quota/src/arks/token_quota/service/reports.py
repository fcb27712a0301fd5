"""Sums of usage, for `arks usage` and for billing."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from arks.kit.errors import Invalid
from arks.token_quota.domain.time import DAY_SECONDS
from arks.token_quota.service.ports.counters import Counters, CountersUnavailable
from arks.token_quota.service.ports.ledger import Ledger, UsageFilter, UsageSum

REPORT_GROUPS = ("namespace", "token", "endpoint", "quota", "day")


@dataclass(frozen=True, slots=True)
class Reports:
    ledger: Ledger
    counters: Counters

    async def usage(self, usage_filter: UsageFilter, group_by: Sequence[str]) -> dict[str, Any]:
        """Sums by `group_by`, each split by source, and the total. Raises Invalid and LedgerUnavailable.

        `openReservations` counts requests that leases hold: in flight, not used yet, or with usage that has not
        arrived; null while Redis is down.
        """
        unknown = [group for group in group_by if group not in REPORT_GROUPS]
        if unknown:
            raise Invalid(f"cannot group by {unknown[0]}: use {', '.join(REPORT_GROUPS)}")
        rows = await self.ledger.usage_sums(usage_filter, [*group_by, "source"])
        items: dict[tuple[Any, ...], dict[str, Any]] = {}
        total = _empty()
        for row in rows:
            group_values = tuple(getattr(row, group) for group in REPORT_GROUPS)
            item = items.setdefault(group_values, _described(row, group_by) | _empty() | {"bySource": {}})
            _add(item, row)
            _add(total, row)
            if row.source is not None and (row.requests or row.prompt_tokens or row.completion_tokens):
                _add(item["bySource"].setdefault(row.source.name.lower(), _empty()), row)
        return {
            "groupBy": [group for group in REPORT_GROUPS if group in group_by],
            "items": list(items.values()),
            "total": total,
            "openReservations": await self._open_requests(usage_filter),
        }

    async def _open_requests(self, usage_filter: UsageFilter) -> int | None:
        try:
            namespaces = [usage_filter.namespace] if usage_filter.namespace else await self.ledger.namespaces()
            return sum([await self.counters.open_requests(namespace) for namespace in namespaces])
        except CountersUnavailable:
            return None


def _empty() -> dict[str, Any]:
    return {"requests": 0, "promptTokens": 0, "completionTokens": 0, "totalTokens": 0}


def _described(row: UsageSum, group_by: Sequence[str]) -> dict[str, Any]:
    described: dict[str, Any] = {group: getattr(row, group) for group in REPORT_GROUPS if group in group_by}
    if row.day is not None:
        described["day"] = f"{datetime.fromtimestamp(row.day * DAY_SECONDS, UTC):%Y-%m-%d}"
    return described


def _add(sums: dict[str, Any], row: UsageSum) -> None:
    sums["requests"] += row.requests
    sums["promptTokens"] += row.prompt_tokens
    sums["completionTokens"] += row.completion_tokens
    sums["totalTokens"] += row.prompt_tokens + row.completion_tokens
