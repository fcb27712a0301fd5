"""Affinity: which requests of an endpoint go to the same replica, so that it finds their prompt in its cache."""

from typing import Annotated, ClassVar

from pydantic import Field

from arks.contracts.resources.schema import ApiModel, Location, Rule

PromptBytes = Annotated[int, Field(ge=0, le=65_536, json_schema_extra={"format": "int32"})]
LoadPercent = Annotated[int, Field(ge=110, le=1_000, json_schema_extra={"format": "int32"})]
SessionHeader = Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z0-9-]+$")]


def _removed(affinity: "EndpointAffinity") -> Location | None:
    return ("header",) if (affinity.header or "").lower().startswith("x-") else None


class EndpointAffinity(ApiModel):
    """Requests of one session, or with the same beginning of a prompt, go to the same replica unless it is busy."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            message="headers that begin with x- do not pass the gateway; choose another one, such as session-id",
            broken_at=_removed,
            cel="!has(self.header) || !self.header.matches('^[xX]-')",
        ),
    )

    header: SessionHeader | None = Field(
        default=None,
        description=(
            "Header by which clients name a session (not one that begins with `x-`). It comes before "
            "`prompt_cache_key` in the body, and that before the prompt."
        ),
    )
    prompt_bytes: PromptBytes = Field(
        default=1024,
        description=(
            "Bytes of the prompt by which requests without a session are held together: of a chat at most up to the "
            "first message of the user. 0: such requests go to the replica with the least load."
        ),
    )
    max_load_percent: LoadPercent = Field(
        default=125,
        description=(
            "Requests in flight at a replica, in percent of its part of all, from which it is busy: the next replica "
            "gets the request then. A replica with less than half of its slots in use is not busy."
        ),
    )
