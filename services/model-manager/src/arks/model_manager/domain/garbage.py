"""Which content of the store is deleted when a disk fills up. Pure; standard library only, see `protocol`."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

HIGH_PERCENT = 85.0
LOW_PERCENT = 75.0


@dataclass(frozen=True, slots=True)
class Watermarks:
    """How full a disk may be before content that no model uses is deleted, and how full it may be after that."""

    high_percent: float = HIGH_PERCENT
    low_percent: float = LOW_PERCENT

    def __post_init__(self) -> None:
        if not 0 <= self.low_percent <= self.high_percent <= 100:
            raise ValueError(
                f"watermarks of {self.low_percent} and {self.high_percent} %: give 0 <= low <= high <= 100"
            )


DEFAULT_WATERMARKS = Watermarks()


@dataclass(frozen=True, slots=True)
class Disk:
    total_bytes: int
    free_bytes: int
    """Of users without privileges."""

    @property
    def used_percent(self) -> float:
        return 100.0 * (1 - self.free_bytes / self.total_bytes) if self.total_bytes else 100.0


@dataclass(frozen=True, slots=True)
class Unused:
    """Content of the store that no model links to."""

    path: Path
    size_bytes: int
    since_ns: int
    """When the last link went."""


def bytes_to_free(disk: Disk, marks: Watermarks, needed_bytes: int = 0) -> int:
    """`needed_bytes`: what has to be free for a download, with its reserve."""
    above_low = 0
    if disk.used_percent > marks.high_percent:
        above_low = int(disk.total_bytes * (1 - marks.low_percent / 100)) - disk.free_bytes
    return max(0, above_low, needed_bytes - disk.free_bytes)


def condemned(unused: Iterable[Unused], wanted_bytes: int) -> list[Unused]:
    """The content that has been unused for longest, until `wanted_bytes` are free."""
    chosen: list[Unused] = []
    for content in sorted(unused, key=lambda content: content.since_ns):
        if wanted_bytes <= 0:
            break
        chosen.append(content)
        wanted_bytes -= content.size_bytes
    return chosen
