"""`--sort-by`: the order of a listing by a column or a path. Pure."""

from datetime import datetime

from arks.local.render.columns import budgets, columns_of, resets
from arks.local.render.kinds import QUOTA
from arks.local.render.plain import Object, lookup, parse_time
from arks.local.render.resources import Listing

_PATHS = {
    "name": ".metadata.name",
    "namespace": ".metadata.namespace",
    "age": ".metadata.creationTimestamp",
    "size": ".status.sizeBytes",
    "expires": ".spec.expiresAt",
    "ready": ".status.readyReplicas",
    "replicas": ".status.readyReplicas",
}
"""Columns that are sorted by their value and not by their text."""


class UnknownColumn(Exception):
    """There is no such column; the message names those that exist."""


def sorted_listing(listing: Listing, by: str, now: datetime) -> Listing:
    """`by`: a column's name in any case, or a path that begins with a dot. Raises UnknownColumn."""
    column = by.lower().strip("{}")
    path = by.strip("{}") if by.startswith((".", "{.")) else _PATHS.get(column)
    if path is not None:
        return Listing(listing.kind, sorted(listing.objects, key=lambda resource: _rank(lookup(resource, path))))
    if listing.kind is QUOTA and column in {"used", "limit", "left", "resets"}:
        return Listing(listing.kind, sorted(listing.objects, key=lambda quota: _quota_rank(quota, column, now)))
    found = next((item for item in columns_of(listing.kind) if item.name.lower() == column), None)
    if found is None:
        names = ", ".join(item.name.lower() for item in columns_of(listing.kind))
        raise UnknownColumn(f"{listing.kind.name} has no column {by!r}; columns: name, {names}")
    return Listing(listing.kind, sorted(listing.objects, key=lambda resource: found.cell(resource, now)))


def _rank(value: object) -> tuple[int, float, str]:
    """Numbers before times and texts; what is absent comes last."""
    if value is None:
        return 2, 0.0, ""
    if isinstance(value, (int, float)):
        return 0, float(value), ""
    at = parse_time(value)
    return (1, at.timestamp(), "") if at is not None else (1, 0.0, str(value))


def _quota_rank(quota: Object, column: str, now: datetime) -> float:
    found = budgets(quota)
    if column == "resets":
        at = resets(quota, now)
        return float("inf") if at is None else at.timestamp()
    if not found:
        return float("inf")
    return {"used": float(found[0].used), "limit": float(found[0].limit), "left": found[0].remaining_ratio}[column]
