"""Where the time of an engine's start goes. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StartPhases:
    load_seconds: float
    """From the start of its process, read-ahead included, until its server answers, which is once it has loaded."""
    warm_up_seconds: float
    """From then until it has written its first token."""

    @classmethod
    def of(cls, started_at: float, loaded_at: float, ready_at: float) -> "StartPhases":
        """Times in seconds since the epoch; a clock that was set back makes no phase negative."""
        return cls(max(0.0, loaded_at - started_at), max(0.0, ready_at - loaded_at))

    @property
    def seconds(self) -> float:
        return self.load_seconds + self.warm_up_seconds

    def __str__(self) -> str:
        return (
            f"{self.seconds:.1f} s ({self.load_seconds:.1f} s to load, {self.warm_up_seconds:.1f} s to the first token)"
        )
