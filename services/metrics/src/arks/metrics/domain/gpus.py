"""Which share of which GPU belongs to a replica."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Gpu:
    """One device as its driver sees it at a moment."""

    index: int
    uuid: str
    memory_total_bytes: int
    memory_used_bytes: int
    utilization_ratio: float | None = None
    """None if the driver does not report it (a GPU that is divided into parts)."""
    process_memory_bytes: Mapping[int, int] = field(default_factory=dict)
    """By process id; 0 if the driver does not report how much."""


@dataclass(frozen=True, slots=True)
class GpuUse:
    utilization_ratio: float | None
    """Of the busiest GPU that it has memory on; others may use that GPU too."""
    memory_used_bytes: int | None
    """Its own, over all GPUs; None if the driver does not report it."""


def use_of(gpus: Sequence[Gpu], processes: Collection[int]) -> GpuUse | None:
    """What these processes use; None when they are on no GPU."""
    own = [gpu for gpu in gpus if any(pid in gpu.process_memory_bytes for pid in processes)]
    if not own:
        return None
    busy = [gpu.utilization_ratio for gpu in own if gpu.utilization_ratio is not None]
    used = sum(gpu.process_memory_bytes.get(pid, 0) for gpu in own for pid in set(processes))
    return GpuUse(max(busy, default=None), used or None)


def with_children(parents: Mapping[int, int], roots: Collection[int]) -> set[int]:
    """The roots and everything that descends from them. `parents`: process id -> its parent's.

    An engine listens in one process and computes in its children.
    """
    children: dict[int, list[int]] = {}
    for pid, parent in parents.items():
        children.setdefault(parent, []).append(pid)
    found: set[int] = set()
    following = list(roots)
    while following:
        pid = following.pop()
        if pid not in found:
            found.add(pid)
            following += children.get(pid, [])
    return found
