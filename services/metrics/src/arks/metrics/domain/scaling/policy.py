"""What an autoscaler shall do, as plain values."""

from dataclasses import dataclass, field, replace

from arks.contracts.resources import ArksAutoscalerSpec, ScalingMode, ScalingObjectives, ScalingPace, ScalingSchedule

LEAST_DOWN_SECONDS = 60.0
"""Of the window of scale-down: false signals are recognised within 45 s."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast the number changes in a direction."""

    window_seconds: float = 0.0
    step: int | None = None
    """Most replicas within `step_seconds`; None: no limit."""
    step_seconds: float = 60.0

    @classmethod
    def of(cls, given: ScalingPace, default_window_seconds: float) -> "Pace":
        window = default_window_seconds if given.window_seconds is None else given.window_seconds
        return cls(float(window), given.step, float(given.step_seconds))


@dataclass(frozen=True, slots=True)
class Objectives:
    """Targets; None: not an objective."""

    first_token_seconds: float | None = None
    inter_token_seconds: float | None = None
    waiting_requests: float | None = None
    """A replica, as is `tokens_per_second`."""
    slot_use_ratio: float | None = None
    kv_cache_ratio: float | None = None
    tokens_per_second: float | None = None

    @classmethod
    def of(cls, given: ScalingObjectives) -> "Objectives":
        return cls(
            first_token_seconds=_scaled(given.time_to_first_token_milliseconds, 1000),
            inter_token_seconds=_scaled(given.inter_token_latency_milliseconds, 1000),
            waiting_requests=_scaled(given.waiting_requests, 1),
            slot_use_ratio=_scaled(given.slot_use_percent, 100),
            kv_cache_ratio=_scaled(given.kv_cache_use_percent, 100),
            tokens_per_second=_scaled(given.tokens_per_second, 1),
        )


def _scaled(value: int | None, by: int) -> float | None:
    return None if value is None else value / by


@dataclass(frozen=True, slots=True)
class Policy:
    minimum: int
    maximum: int
    objectives: Objectives
    advise: bool = False
    up: Pace = field(default_factory=Pace)
    down: Pace = field(default_factory=lambda: Pace(300.0))
    idle_seconds: float = 300.0
    schedules: tuple[ScalingSchedule, ...] = ()

    @classmethod
    def of(cls, spec: ArksAutoscalerSpec) -> "Policy":
        down = Pace.of(spec.scale_down, 300.0)
        return cls(
            minimum=spec.min_replicas,
            maximum=spec.max_replicas,
            objectives=Objectives.of(spec.objectives),
            advise=spec.mode is ScalingMode.ADVISE,
            up=Pace.of(spec.scale_up, 0.0),
            down=replace(down, window_seconds=max(down.window_seconds, LEAST_DOWN_SECONDS)),
            idle_seconds=float(spec.idle_seconds),
            schedules=tuple(spec.schedules),
        )
