"""A rollout from the applications of an endpoint to another one of them, in steps."""

from enum import StrEnum
from itertools import pairwise
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from arks.contracts.resources.schema import ApiModel, Count32, Location, ObjectName, Rule, Timestamp

DEFAULT_STEPS = (5, 25, 50)

StepPercent = Annotated[int, Field(ge=1, le=99, json_schema_extra={"format": "int32"})]
StepSeconds = Annotated[int, Field(ge=1, le=604_800, json_schema_extra={"format": "int32"})]
Requests = Annotated[int, Field(ge=10, le=100_000, json_schema_extra={"format": "int32"})]
Worse = Annotated[int, Field(ge=0, le=1_000, json_schema_extra={"format": "int32"})]


class RolloutPhase(StrEnum):
    PROGRESSING = "Progressing"
    PROMOTED = "Promoted"
    ROLLED_BACK = "RolledBack"


def _not_rising(rollout: "EndpointRollout") -> Location | None:
    falls = (number for number, (step, after) in enumerate(pairwise(rollout.steps)) if after <= step)
    return None if (number := next(falls, None)) is None else ("steps", number + 1)


class EndpointRollout(ApiModel):
    """Move the endpoint's traffic to one of its applications, in steps, as long as it is no worse than the others."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            message="each step must be larger than the step before it",
            broken_at=_not_rising,
            cel=("!has(self.steps) || (self.steps.isSorted() && self.steps.all(a, self.steps.exists_one(b, b == a)))"),
        ),
    )

    canary: ObjectName = Field(description="Application that gets the shares of the steps, and all traffic at the end.")
    steps: list[StepPercent] = Field(
        default_factory=lambda: list(DEFAULT_STEPS),
        min_length=1,
        max_length=16,
        description="Percent of the requests that the canary gets, one after the other; then all.",
    )
    step_seconds: StepSeconds = Field(default=300, description="Shortest time of a step.")
    minimum_requests: Requests = Field(
        default=100,
        description="Requests of the canary, and of the others, that must end in a step before they are compared.",
    )
    error_points: Worse = Field(
        default=1, description="Percentage points by which the canary's rate of server errors may be higher."
    )
    slower_percent: Worse = Field(
        default=20,
        description="Percent by which the canary's times to first token and between tokens may be longer.",
    )
    command: Literal["Auto", "Promote", "Abort"] = Field(
        default="Auto",
        description="Auto: measurements decide. Promote: all traffic to the canary now. Abort: none to it.",
    )


class EndpointRolloutStatus(ApiModel):
    """Where the rollout is. Written by endpoint-router."""

    canary: ObjectName = Field(description="Its application.")
    phase: Annotated[RolloutPhase, Field(strict=False)] = Field(
        default=RolloutPhase.PROGRESSING, description="Progressing, Promoted or RolledBack."
    )
    step: Count32 = Field(default=0, description="Number of the step, from 0.")
    percent: Count32 = Field(default=0, description="Percent of the requests that the canary gets.")
    since: Timestamp = Field(description="When the step or the outcome began.")
    message: str = Field(default="", max_length=1024, description="What was measured, or what it waits for.")
