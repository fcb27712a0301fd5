"""ArksAutoscaler: how many replicas of an application run, from what its users feel."""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from arks.contracts.resources.meta import AGE, KIND, READY, CustomResource, PrinterColumn, Status
from arks.contracts.resources.schema import ApiModel, Count32, Location, ObjectName, Rule, Timestamp, duplicate_at

_CRON_FIELD = r"[0-9A-Za-z*,/-]+"
CRON_PATTERN = rf"^{_CRON_FIELD}( {_CRON_FIELD}){{4}}$"
"""Minute, hour, day of month, month, day of week, separated by single blanks."""
TIME_ZONE_PATTERN = r"^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$"
"""Names of the IANA database: UTC, Europe/Berlin."""
MAX_SCHEDULES = 32

Positive = Annotated[int, Field(ge=1, le=2**31 - 1, json_schema_extra={"format": "int32"})]
Percent = Annotated[int, Field(ge=1, le=100, json_schema_extra={"format": "int32"})]
Seconds = Annotated[int, Field(ge=0, le=86400, json_schema_extra={"format": "int32"})]
Cron = Annotated[str, Field(max_length=256, pattern=CRON_PATTERN)]


class ScalingMode(StrEnum):
    AUTO = "Auto"
    ADVISE = "Advise"


class ScaleTarget(ApiModel):
    """The application, or the stage of a disaggregated one, that is scaled."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            message="stage, prefill or decode, belongs to kind ArksDisaggregatedApplication, which needs one",
            broken_at=lambda target: (
                None if (target.kind == "ArksDisaggregatedApplication") == (target.stage is not None) else ("stage",)
            ),
            cel="(has(self.kind) && self.kind == 'ArksDisaggregatedApplication') == has(self.stage)",
        ),
    )

    kind: Literal["ArksApplication", "ArksDisaggregatedApplication"] = Field(
        default="ArksApplication", description="Kind of the application."
    )
    name: ObjectName = Field(description="Name of the application, in the same namespace.")
    stage: Literal["prefill", "decode"] | None = Field(
        default=None,
        description="Stage of an ArksDisaggregatedApplication whose engines are scaled; each has its own autoscaler.",
    )


class ScalingObjectives(ApiModel):
    """What has to hold. Give one or more; the objective that needs the most replicas decides."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            message="give at least one objective, as timeToFirstTokenMilliseconds",
            broken_at=lambda given: None if given.model_fields_set else (),
            cel=(
                "has(self.timeToFirstTokenMilliseconds) || has(self.interTokenLatencyMilliseconds) || "
                "has(self.waitingRequests) || has(self.slotUsePercent) || has(self.kvCacheUsePercent) || "
                "has(self.tokensPerSecond)"
            ),
        ),
    )

    time_to_first_token_milliseconds: Positive | None = Field(
        default=None,
        description="Largest time from a streamed request to its first token, 95th percentile at the gateway.",
    )
    inter_token_latency_milliseconds: Positive | None = Field(
        default=None, description="Largest mean time between tokens of a stream, 95th percentile at the gateway."
    )
    waiting_requests: Positive | None = Field(
        default=None, description="Most requests that wait inside an engine, a replica."
    )
    slot_use_percent: Percent | None = Field(
        default=None,
        description="Requests in flight as a share of all slots; they have to be known (of vLLM: --max-num-seqs).",
    )
    kv_cache_use_percent: Percent | None = Field(default=None, description="Use of the KV cache, mean of the replicas.")
    tokens_per_second: Positive | None = Field(
        default=None, description="Prompt and generated tokens a second of a replica, instead of a measured capacity."
    )


class ScalingPace(ApiModel):
    """How fast the number of replicas changes in a direction."""

    window_seconds: Seconds | None = Field(
        default=None,
        description=(
            "How long fewer replicas (scale-down) or more (scale-up) must be wanted; default 0 up, 300 down, "
            "where it is at least 60."
        ),
    )
    step: Positive | None = Field(
        default=None, description="Most replicas that are added or removed within `stepSeconds`; default: no limit."
    )
    step_seconds: Seconds = Field(default=60, description="Time in which `step` replicas may be added or removed.")


class ScalingSchedule(ApiModel):
    """Other bounds at some times."""

    name: str = Field(min_length=1, max_length=63, description="Name, which reasons in the status mention.")
    start: Cron = Field(description="When it begins to hold: minute, hour, day of month, month, day of week (cron).")
    end: Cron = Field(description="When it ceases to hold.")
    time_zone: Annotated[str, Field(max_length=64, pattern=TIME_ZONE_PATTERN)] = Field(
        default="UTC", description="IANA name of the time zone of `start` and `end`, as Europe/Berlin."
    )
    min_replicas: Count32 | None = Field(default=None, description="Minimum while it holds.")
    max_replicas: Positive | None = Field(default=None, description="Maximum while it holds.")


def _crossed(spec: "ArksAutoscalerSpec") -> Location | None:
    return ("minReplicas",) if spec.min_replicas > spec.max_replicas else None


def _duplicate_schedule(spec: "ArksAutoscalerSpec") -> Location | None:
    at = duplicate_at(schedule.name for schedule in spec.schedules)
    return None if at is None else ("schedules", at, "name")


class ArksAutoscalerSpec(ApiModel):
    """What is scaled, between which bounds, for which objectives."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            message="minReplicas must not be above maxReplicas",
            broken_at=_crossed,
            cel="(has(self.minReplicas) ? self.minReplicas : 1) <= self.maxReplicas",
        ),
        Rule(
            message="each schedule needs a name of its own",
            broken_at=_duplicate_schedule,
            cel="!has(self.schedules) || self.schedules.all(a, self.schedules.exists_one(b, b.name == a.name))",
        ),
    )

    target: ScaleTarget = Field(description="The application that is scaled.")
    min_replicas: Count32 = Field(default=1, description="Fewest replicas; 0: none while the application is idle.")
    max_replicas: Positive = Field(description="Most replicas.")
    mode: Annotated[ScalingMode, Field(strict=False)] = Field(
        default=ScalingMode.AUTO, description="Auto, or Advise: the status and events show what would be done."
    )
    objectives: ScalingObjectives = Field(description="What has to hold.")
    scale_up: ScalingPace = Field(default_factory=ScalingPace, description="How fast replicas are added.")
    scale_down: ScalingPace = Field(default_factory=ScalingPace, description="How fast replicas are removed.")
    idle_seconds: Seconds = Field(
        default=300,
        description="Time without any request after which the last replica is removed, if the minimum is 0.",
    )
    schedules: list[ScalingSchedule] = Field(
        default_factory=list,
        max_length=MAX_SCHEDULES,
        description="Other bounds at some times. Of several that hold, the largest minimum and maximum count.",
    )


class ObjectiveStatus(ApiModel):
    """One objective and what is measured of it."""

    name: str = Field(description="Field of `spec.objectives`.")
    target: Count32 = Field(description="Value in the spec.")
    current: Count32 | None = Field(default=None, description="Measured value, rounded; absent while unknown.")


class HeldStatus(ApiModel):
    """Requests that wait at the gateway for a replica."""

    requests: Count32 = Field(description="How many wait.")
    model: str = Field(description="Public name of the model that they are for.")
    since: Timestamp | None = Field(default=None, description="Since when requests have waited without a break.")
    expected_time: Timestamp | None = Field(
        default=None, description="When the first replica should be ready, by the measured start-up time."
    )


class ArksAutoscalerStatus(Status):
    """Observed state, written by metrics."""

    condition_types: ClassVar[tuple[str, ...]] = ("Ready", "Limited")

    replicas: Count32 = Field(default=0, description="Ready replicas of the application.")
    wanted_replicas: Count32 | None = Field(default=None, description="Replicas that the objectives need.")
    reason: str = Field(default="", max_length=63, description="Why, as one CamelCase word.")
    message: str = Field(default="", max_length=1024, description="Why, for people.")
    last_change_time: Timestamp | None = Field(default=None, description="When `wantedReplicas` last changed.")
    capacity_tokens_per_second: Count32 | None = Field(
        default=None, description="Tokens a second of a replica at which the objectives hold, as measured."
    )
    start_seconds: Count32 | None = Field(default=None, description="Time that a replica needs to become ready.")
    objectives: list[ObjectiveStatus] = Field(default_factory=list, max_length=16, description="Current figures.")
    held: HeldStatus | None = Field(
        default=None, description="Requests that wait at the gateway for a replica; absent while none does."
    )


class ArksAutoscaler(CustomResource[ArksAutoscalerSpec, ArksAutoscalerStatus]):
    """Scales an application on what its users feel."""

    plural: ClassVar[str] = "arksautoscalers"
    singular: ClassVar[str] = "arksautoscaler"
    short_names: ClassVar[tuple[str, ...]] = ("aas",)
    columns: ClassVar[tuple[PrinterColumn, ...]] = (
        AGE,
        PrinterColumn("Application", ".spec.target.name"),
        PrinterColumn("Replicas", ".status.replicas", "integer"),
        PrinterColumn("Wanted", ".status.wantedReplicas", "integer"),
        PrinterColumn("Reason", ".status.reason"),
        READY,
        PrinterColumn("Stage", ".spec.target.stage", wide=True),
        PrinterColumn("Mode", ".spec.mode", wide=True),
        PrinterColumn("Why", ".status.message", wide=True),
    )

    kind: Literal["ArksAutoscaler"] = Field(default="ArksAutoscaler", description=KIND)
