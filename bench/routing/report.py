"""One line for each side of a comparison."""

from collections.abc import Sequence
from typing import Any

Records = Sequence[dict[str, Any]]

HEADER = (
    f"{'':34}{'TTFT p50':>9}{'p99':>7}{'gap p99':>9}{'goodput':>9}{'errors':>8}{'late p99':>10}"
    "  share of each replica, %"
)


def percentile(values: Sequence[float], part: float) -> float:
    """Return 0 without values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0.0


def first_token_seconds(records: Records) -> list[float]:
    return [record["first"] - record["due"] for record in records if record["first"] is not None]


def line(name: str, records: Records, replicas: int) -> str:
    """Return times in ms, and goodput as a part of what was offered."""
    first = first_token_seconds(records)
    ended = [record for record in records if record["status"] == 200 and record["first"] is not None]
    gaps = [record["gap"] for record in ended]
    late = [record["sent"] - record["due"] for record in records]
    return (
        f"{name:34}{1e3 * percentile(first, 0.5):9.0f}{1e3 * percentile(first, 0.99):7.0f}"
        f"{1e3 * percentile(gaps, 0.99):9.0f}{len(ended) / len(records):9.3f}{len(records) - len(ended):8d}"
        f"{1e3 * percentile(late, 0.99):10.1f}  {shares(records, replicas)}"
    )


def shares(records: Records, replicas: int) -> str:
    counts = [sum(record["replica"] == number for record in records) for number in range(replicas)]
    total = sum(counts) or 1
    return " ".join(f"{100 * count / total:.1f}" for count in counts)
