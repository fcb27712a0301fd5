"""Where the time of an engine's start goes. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

PREPARE, IMAGE, READ_AHEAD, LOAD, WARM_UP = PHASES = ("prepare", "image", "read-ahead", "load", "warm-up")


@dataclass(frozen=True, slots=True)
class Run:
    """A container that ran before the engine's."""

    reads_ahead: bool
    """It reads the weights into the node's page cache."""
    started_at: datetime
    ended_at: datetime


@dataclass(frozen=True, slots=True)
class StartPhases:
    """Phases that did not take place, or were not measured, are None."""

    load_seconds: float
    """From the start of its process until its server answers, which is once it has loaded. On one machine with
    read-ahead."""
    warm_up_seconds: float | None = None
    """From then until it has written its first token."""
    prepare_seconds: float | None = None
    """From when its pod had a node until volumes and network were there, and of other init containers."""
    image_seconds: float | None = None
    """Until its containers ran: the pull of images that the node had not."""
    read_ahead_seconds: float | None = None
    """Of the weights, from shared storage to the memory of the node."""

    @classmethod
    def of(cls, started_at: float, loaded_at: float, ready_at: float) -> "StartPhases":
        """On one machine. Times in seconds since the epoch; a clock that was set back makes no phase negative."""
        return cls(max(0.0, loaded_at - started_at), max(0.0, ready_at - loaded_at))

    @classmethod
    def of_pod(
        cls,
        scheduled_at: datetime | None,
        prepared_at: datetime | None,
        runs: Sequence[Run],
        started_at: datetime,
        ready_at: datetime,
    ) -> "StartPhases":
        """In a pod. `runs`: in the order of their start. `started_at`: of the engine's container.

        Kubernetes gives times in whole seconds. Without `scheduled_at` (its container was started again) there is only
        the time to load.
        """
        load_seconds = _between(started_at, ready_at)
        if scheduled_at is None:
            return cls(load_seconds)
        prepare, image, ahead = _between(scheduled_at, prepared_at or scheduled_at), 0.0, None
        before = prepared_at or scheduled_at
        for run in runs:
            image += _between(before, run.started_at)
            if run.reads_ahead:
                ahead = _between(run.started_at, run.ended_at)
            else:
                prepare += _between(run.started_at, run.ended_at)
            before = run.ended_at
        image += _between(before, started_at)
        return cls(load_seconds, None, prepare, image, ahead)

    def same_pod(self, other: "StartPhases") -> bool:
        """Whether both are of one pod: what ended before its engine's container ran does not change."""
        return self._before_engine() == other._before_engine()

    def _before_engine(self) -> tuple[float | None, ...]:
        return self.prepare_seconds, self.image_seconds, self.read_ahead_seconds

    def warmed_up(self, seconds: float) -> "StartPhases":
        return replace(self, warm_up_seconds=seconds)

    def items(self) -> Iterator[tuple[str, float]]:
        """The phases that are known, in their order, with their seconds."""
        values = (self.prepare_seconds, self.image_seconds, self.read_ahead_seconds, self.load_seconds)
        for name, seconds in zip(PHASES, (*values, self.warm_up_seconds), strict=True):
            if seconds is not None:
                yield name, seconds

    @property
    def seconds(self) -> float:
        return sum(seconds for _, seconds in self.items())

    def __str__(self) -> str:
        parts = ", ".join(f"{seconds:.1f} s {_WORDS[name]}" for name, seconds in self.items())
        return f"{self.seconds:.1f} s ({parts})"


_WORDS = {
    PREPARE: "for volumes and network",
    IMAGE: "for its image",
    READ_AHEAD: "to read ahead",
    LOAD: "to load",
    WARM_UP: "to the first token",
}


def _between(before: datetime, after: datetime) -> float:
    return max(0.0, (after - before).total_seconds())
