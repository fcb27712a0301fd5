"""ArksToken: an API key, its user, and its permissions."""

from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator

from arks.contracts.api_key import (
    HASH_PATTERN,
    HASH_PREFIX,
    HASH_REQUIREMENT,
    KEY_PATTERN,
    KEY_REQUIREMENT,
    MAX_KEY_LENGTH,
    is_key,
    is_key_hash,
)
from arks.contracts.resources.meta import AGE, KIND, READY, REASON, WHY, CustomResource, PrinterColumn, Status
from arks.contracts.resources.schema import ApiModel, Count64, Location, ObjectName, Rule, Timestamp, duplicate_at
from arks.contracts.resources.secret import Hidden

MAX_QOS = 256


class RateLimitType(StrEnum):
    RPM = "rpm"
    RPD = "rpd"
    TPM = "tpm"
    TPD = "tpd"


class FailureMode(StrEnum):
    OPEN = "Open"
    CLOSED = "Closed"


class TokenSecretRef(ApiModel):
    """The secret that holds the key."""

    name: ObjectName = Field(description="Name of the secret, in the token's namespace.")
    key: str = Field(default="token", min_length=1, max_length=253, description="Key in the secret.")


def _one_key(source: "KeySource") -> Location | None:
    given = [source.token, source.token_secret_ref, source.token_hash]
    return None if sum(value is not None for value in given) == 1 else ()


def _secret_pattern(pattern: str, requirement: str, max_length: int) -> dict[str, Any]:
    """The pattern as a CEL rule. An API server echoes the value when `pattern` fails, and the value may be a key."""
    rule = {"rule": f"self.matches('{pattern}')", "message": f"must be {requirement}"}
    return {"minLength": 1, "maxLength": max_length, "x-kubernetes-validations": [rule]}


class KeySource(ApiModel):
    """A key: in the clear, in a secret, or only its hash. Exactly one."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            message="give exactly one of token, tokenSecretRef and tokenHash",
            broken_at=_one_key,
            cel=("(has(self.token) ? 1 : 0) + (has(self.tokenSecretRef) ? 1 : 0) + (has(self.tokenHash) ? 1 : 0) == 1"),
        ),
    )

    token: Hidden | None = Field(
        default=None,
        repr=False,
        description="The key in the clear: anyone who can read the resource can read it. Prefer `tokenSecretRef`.",
        json_schema_extra=_secret_pattern(KEY_PATTERN, KEY_REQUIREMENT, MAX_KEY_LENGTH),
    )
    token_secret_ref: TokenSecretRef | None = Field(default=None, description="Secret that holds the key.")
    token_hash: str | None = Field(
        default=None,
        repr=False,
        description="Keyed hash of the key; what one machine stores in place of the key itself.",
        json_schema_extra=_secret_pattern(HASH_PATTERN, HASH_REQUIREMENT, len(HASH_PREFIX) + 64),
    )

    @field_validator("token", mode="after")
    @classmethod
    def _sendable(cls, token: Any) -> Any:
        if token is None:
            return None
        key = token.get_secret_value()
        if not is_key(key):
            raise ValueError(f"must be {KEY_REQUIREMENT}")
        if set(key) == {"*"}:
            raise ValueError("is a row of asterisks: the mask of a hidden key, not a key")
        return token

    @field_validator("token_hash", mode="after")
    @classmethod
    def _well_formed(cls, token_hash: str | None) -> str | None:
        if token_hash is not None and not is_key_hash(token_hash):
            raise ValueError(f"must be {HASH_REQUIREMENT}")
        return token_hash


class PreviousKey(KeySource):
    """A replaced key that stays valid for some time."""

    until: Timestamp = Field(description="When it stops working.")


class RateLimit(ApiModel):
    """A limit per UTC minute or UTC day."""

    type: Annotated[RateLimitType, Field(strict=False)] = Field(
        description="Requests or tokens, per minute or day: rpm, rpd, tpm, tpd."
    )
    value: Count64 = Field(description="Limit; 0 rejects everything.")


class EndpointRef(ApiModel):
    """The endpoint that may be used."""

    name: ObjectName = Field(description="Name of the ArksEndpoint, in the token's namespace: the public model name.")


class QuotaRef(ApiModel):
    """The budget that is charged."""

    name: ObjectName = Field(description="Name of the ArksQuota, in the token's namespace.")


def _duplicate_rate_limit(qos: "TokenQos") -> Location | None:
    at = duplicate_at(limit.type for limit in qos.rate_limits)
    return None if at is None else ("rateLimits", at, "type")


class TokenQos(ApiModel):
    """Permission to use one endpoint, with its limits."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            message="each type of rate limit may appear once",
            broken_at=_duplicate_rate_limit,
            cel="!has(self.rateLimits) || self.rateLimits.all(a, self.rateLimits.exists_one(b, a.type == b.type))",
        ),
    )

    arks_endpoint: EndpointRef = Field(description="The endpoint that may be used.")
    rate_limits: list[RateLimit] = Field(
        default_factory=list, max_length=16, description="Limits; none means unlimited."
    )
    quota: QuotaRef | None = Field(default=None, description="The budget that is charged; none means unlimited.")


class FailurePolicy(ApiModel):
    """Handling of requests while counters cannot be read."""

    rates: Annotated[FailureMode, Field(strict=False)] = Field(
        default=FailureMode.OPEN, description="While rate limits cannot be checked: Open lets requests through."
    )
    budgets: Annotated[FailureMode, Field(strict=False)] = Field(
        default=FailureMode.CLOSED, description="While quotas cannot be checked: Closed rejects requests."
    )


def _duplicate_endpoint(spec: "ArksTokenSpec") -> Location | None:
    at = duplicate_at(qos.arks_endpoint.name for qos in spec.qos)
    return None if at is None else ("qos", at, "arksEndpoint", "name")


class ArksTokenSpec(KeySource):
    """The key and its permissions."""

    rules: ClassVar[tuple[Rule, ...]] = (
        *KeySource.rules,
        Rule(
            message="each endpoint may appear once in qos",
            broken_at=_duplicate_endpoint,
            cel="self.qos.all(a, self.qos.exists_one(b, a.arksEndpoint.name == b.arksEndpoint.name))",
        ),
    )

    previous: list[PreviousKey] = Field(
        default_factory=list, max_length=16, description="Replaced keys that stay valid until a set time."
    )
    expires_at: Timestamp | None = Field(default=None, description="When the key stops working.")
    disabled: bool = Field(default=False, description="Reject the key at once, until this is false.")
    failure_policy: FailurePolicy = Field(
        default_factory=FailurePolicy, description="Handling of requests while counters cannot be read."
    )
    qos: list[TokenQos] = Field(
        max_length=MAX_QOS, description="Endpoints that the key may use; no others are allowed."
    )


class ArksTokenStatus(Status):
    """Observed state, written by token-quota."""

    condition_types: ClassVar[tuple[str, ...]] = ("Ready",)


class ArksToken(CustomResource[ArksTokenSpec, ArksTokenStatus]):
    """One key of one user; the namespace is the tenant, the name the user."""

    plural: ClassVar[str] = "arkstokens"
    singular: ClassVar[str] = "arkstoken"
    columns: ClassVar[tuple[PrinterColumn, ...]] = (
        AGE,
        READY,
        PrinterColumn("Expires", ".spec.expiresAt"),
        REASON,
        WHY,
    )

    kind: Literal["ArksToken"] = Field(default="ArksToken", description=KIND)
