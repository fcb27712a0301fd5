"""How far a download is, how fast it goes, how long it will take."""

from collections.abc import Sequence
from dataclasses import dataclass

from arks.contracts.resources import DownloadProgress


@dataclass(frozen=True, slots=True)
class Sample:
    at_seconds: float
    """Of a monotonic clock."""
    done_bytes: int


RATE_WINDOW_SECONDS = 10.0
SHORTEST_SECONDS = 0.2
"""Over less than this a rate is noise."""


def sampled(samples: Sequence[Sample], newest: Sample) -> tuple[Sample, ...]:
    """The samples that a rate is taken from, with the newest one: those of the last seconds, two at least."""
    if samples and newest.done_bytes < samples[-1].done_bytes:
        return (newest,)  # something was thrown away: the rate starts over
    recent = [sample for sample in samples if newest.at_seconds - sample.at_seconds <= RATE_WINDOW_SECONDS]
    kept = recent or list(samples[-1:])
    if len(kept) > 64:
        kept = kept[::2]
    return (*kept, newest)


def progress_of(samples: Sequence[Sample], total_bytes: int | None) -> DownloadProgress:
    """Percent, rate over the samples' time and what remains at that rate; absent where they cannot be known."""
    done = samples[-1].done_bytes if samples else 0
    known = total_bytes is not None and total_bytes > 0
    percent = round(100.0 * min(1.0, done / total_bytes), 1) if total_bytes else None
    rate: int | None = None
    remaining: int | None = None
    seconds = samples[-1].at_seconds - samples[0].at_seconds if samples else 0.0
    if seconds >= SHORTEST_SECONDS:
        rate = max(0, int((done - samples[0].done_bytes) / seconds))
    if known and total_bytes is not None and rate:
        remaining = -(-max(0, total_bytes - done) // rate)
    return DownloadProgress(
        done_bytes=done,
        total_bytes=total_bytes,
        percent=percent,
        bytes_per_second=rate,
        remaining_seconds=remaining,
    )


def human_bytes(size_bytes: int) -> str:
    """98.9 MB; powers of 1000, as disks and networks are sold."""
    size = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
