"""How replicas are replaced when their spec changes."""

from typing import Literal

from pydantic import Field

from arks.contracts.resources.schema import ApiModel

DEFAULT_PROGRESS_SECONDS = 1800
"""Weights of large models load for minutes, on several nodes one after the other."""


class RolloutStrategy(ApiModel):
    """How replicas are replaced when their spec changes."""

    type: Literal["Surge", "InPlace"] = Field(
        default="Surge",
        description=(
            "Surge: a new replica is ready before an old one stops; without room for it old ones stop first. "
            "InPlace: old ones always stop first."
        ),
    )
    surge_deadline_seconds: int | None = Field(
        default=None,
        ge=0,
        le=86400,
        description=(
            "How long the additional replica of a surge may lack a node, a quota or a volume before old replicas stop "
            "first; default 30, or 900 while an autoscaler makes a node for it."
        ),
    )
    progress_deadline_seconds: int = Field(
        default=DEFAULT_PROGRESS_SECONDS,
        ge=1,
        le=2**31 - 1,
        description="Seconds without a change of any replica after which `Progressing` is False.",
    )

    @property
    def without_surge(self) -> bool:
        return self.type == "InPlace"
