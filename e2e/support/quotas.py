"""What the status of an ArksQuota has charged."""

from e2e.support.cluster import Object


def used_tokens(quota: Object) -> int:
    """Used tokens of a quota with one limit; 0 before the first charge."""
    return sum(int(limit["used"]) for limit in quota.get("status", {}).get("quotaStatus", []))
