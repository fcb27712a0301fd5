"""ArksQuota: a budget of tokens that several keys may share."""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from arks.contracts.resources.meta import AGE, KIND, READY_WIDE, REASON, CustomResource, PrinterColumn, Status
from arks.contracts.resources.schema import ApiModel, Count64, Location, Rule, Timestamp, differ, duplicate_at


class QuotaType(StrEnum):
    PROMPT = "prompt"
    RESPONSE = "response"
    TOTAL = "total"


class QuotaPeriod(StrEnum):
    LIFETIME = "lifetime"
    DAY = "day"
    MONTH = "month"


def _untyped(limit: "QuotaLimit") -> Location | None:
    return ("type",) if limit.type is None and limit.name is None else None


class QuotaLimit(ApiModel):
    """A budget for one type of tokens."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            message="type is missing: prompt, response or total",
            broken_at=_untyped,
            cel="has(self.type) || has(self.name)",
        ),
        Rule(
            message="set either type or name (deprecated), not two different values",
            broken_at=lambda limit: ("type",) if differ(limit.type, limit.name) else None,
            cel="!has(self.type) || !has(self.name) || self.type == self.name",
        ),
    )

    type: Annotated[QuotaType, Field(strict=False)] | None = Field(
        default=None, description="Tokens of prompts, of responses, or both: prompt, response, total."
    )
    name: Annotated[QuotaType, Field(strict=False)] | None = Field(default=None, description="Old spelling of `type`.")
    value: Count64 = Field(description="Number of tokens; 0 rejects everything.")

    @property
    def quota_type(self) -> QuotaType:
        """The type, from either spelling."""
        chosen = self.type or self.name
        if chosen is None:
            raise ValueError("a quota without a type")
        return chosen


def _duplicate_type(spec: "ArksQuotaSpec") -> Location | None:
    at = duplicate_at(limit.quota_type for limit in spec.quotas)
    return None if at is None else ("quotas", at, "type")


class ArksQuotaSpec(ApiModel):
    """The budget."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            message="each type of quota may appear once",
            broken_at=_duplicate_type,
            cel=(
                "self.quotas.all(a, !(has(a.type) || has(a.name)) || self.quotas.exists_one(b, "
                "(has(a.type) ? a.type : a.name) == (has(b.type) ? b.type : has(b.name) ? b.name : '')))"
            ),
        ),
    )

    quotas: list[QuotaLimit] = Field(min_length=1, max_length=16, description="Limits, one per type.")
    period: Annotated[QuotaPeriod, Field(strict=False)] = Field(
        default=QuotaPeriod.LIFETIME,
        description="When usage is reset to 0: never (lifetime), each UTC day, or each UTC month.",
    )
    reset_generation: Count64 = Field(default=0, description="Increase it to reset usage to 0 now.")


class QuotaUsage(ApiModel):
    """Usage of one type."""

    type: Annotated[QuotaType, Field(strict=False)] = Field(description="prompt, response or total.")
    used: Count64 = Field(default=0, description="Tokens used in this period.")
    last_update_time: Timestamp | None = Field(default=None, description="When `used` last changed.")


class ArksQuotaStatus(Status):
    """Observed state, written by token-quota."""

    condition_types: ClassVar[tuple[str, ...]] = ("Ready", "Exceeded")

    quota_status: list[QuotaUsage] = Field(default_factory=list, max_length=16, description="Usage by type.")
    period_start: Timestamp | None = Field(default=None, description="Start of the period that usage belongs to.")
    reset_generation: Count64 | None = Field(
        default=None, description="Latest `spec.resetGeneration` that was applied."
    )


class ArksQuota(CustomResource[ArksQuotaSpec, ArksQuotaStatus]):
    """A budget of tokens, charged by all keys that name it."""

    plural: ClassVar[str] = "arksquotas"
    singular: ClassVar[str] = "arksquota"
    short_names: ClassVar[tuple[str, ...]] = ("aq",)
    columns: ClassVar[tuple[PrinterColumn, ...]] = (
        AGE,
        PrinterColumn("Used", ".status.quotaStatus[0].used", "integer"),
        PrinterColumn("Limit", ".spec.quotas[0].value", "integer"),
        PrinterColumn("Period", ".spec.period"),
        PrinterColumn("Exceeded", '.status.conditions[?(@.type=="Exceeded")].status', wide=True),
        READY_WIDE,
        REASON,
    )

    kind: Literal["ArksQuota"] = Field(default="ArksQuota", description=KIND)
