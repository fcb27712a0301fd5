"""Progress of a download: bytes, rate and remaining time."""

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
"""Over less time than this a rate is noise."""
_MAX_SAMPLES = 64


def add_sample(samples: Sequence[Sample], newest: Sample) -> tuple[Sample, ...]:
    """The samples of the rate's window, with the newest one; at least two if there are two."""
    if samples and newest.done_bytes < samples[-1].done_bytes:
        return (newest,)  # bytes were discarded: the rate starts over
    recent = [sample for sample in samples if newest.at_seconds - sample.at_seconds <= RATE_WINDOW_SECONDS]
    kept = recent or list(samples[-1:])
    if len(kept) > _MAX_SAMPLES:
        kept = kept[::2]
    return (*kept, newest)


def progress_of(samples: Sequence[Sample], total_bytes: int | None) -> DownloadProgress:
    """Percent, rate over the samples, and remaining time at that rate; None where the input is not enough."""
    done = samples[-1].done_bytes if samples else 0
    percent = round(100.0 * min(1.0, done / total_bytes), 1) if total_bytes else None
    rate = _bytes_per_second(samples)
    remaining = -(-max(0, total_bytes - done) // rate) if total_bytes and rate else None
    return DownloadProgress(
        done_bytes=done,
        total_bytes=total_bytes,
        percent=percent,
        bytes_per_second=rate,
        remaining_seconds=remaining,
    )


def _bytes_per_second(samples: Sequence[Sample]) -> int | None:
    seconds = samples[-1].at_seconds - samples[0].at_seconds if samples else 0.0
    if seconds < SHORTEST_SECONDS:
        return None
    return max(0, int((samples[-1].done_bytes - samples[0].done_bytes) / seconds))
