"""How rejections look to clients: OpenAI's error envelope, status, and headers that its clients and older ones read.

Types and codes follow OpenAI's, so that its clients raise their typed exceptions: 400 BadRequestError, 401
AuthenticationError, 403 PermissionDeniedError, 404 NotFoundError, 429 RateLimitError. Clients of the same
resource group read the `x-error-*` headers. A key is never part of an answer.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import quote

from arks.contracts.resources import LimitType, QuotaType, RateLimitType
from arks.contracts.uses import USES
from arks.token_quota.domain.headers import Headers, duration_text, rate_limit_headers
from arks.token_quota.domain.lease import KEY_HOLD, MODEL_HOLD, NOT_READY_HOLD, Hold, limit_hold
from arks.token_quota.domain.limits import Rates, RateUse, Violation

NOT_READY_RETRY_SECONDS = 5
OVERLOADED_RETRY_SECONDS = 1
_VISIBLE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) != "%")
_PREVIEW_CHARACTERS = 200
"""Of a name that a client sent: enough to recognise it."""


@dataclass(frozen=True)
class Rejection:
    """The final answer to a request that is not admitted."""

    status: int
    code: str
    message: str
    type: str = "invalid_request_error"
    param: str | None = None
    headers: Headers = ()
    reason: str = ""
    """For metrics: the code, or the broken limit."""
    violations: tuple[Violation, ...] = ()
    hold: Hold | None = None
    """How long the gateway may repeat it; None: not at all."""

    @cached_property
    def body(self) -> bytes:
        error: dict[str, Any] = {
            "message": self.message,
            "type": self.type,
            "param": self.param,
            "code": self.code,
        }
        if self.violations:
            error["details"] = [_details(violation) for violation in self.violations]
        return json.dumps({"error": error}, ensure_ascii=False).encode("utf-8", "replace")


def missing_key() -> Rejection:
    return Rejection(
        401,
        "missing_api_key",
        "You didn't provide an API key. Send it as `Authorization: Bearer <key>`.",
        headers=(("www-authenticate", "Bearer"), ("x-error-token", "missing")),
        hold=KEY_HOLD,
    )


def unknown_key() -> Rejection:
    return _key_rejection("invalid_api_key", "Incorrect API key provided.", "invalid")


def disabled_key() -> Rejection:
    return _key_rejection("api_key_disabled", "This API key is disabled.", "disabled")


def expired_key() -> Rejection:
    return _key_rejection("api_key_expired", "This API key has expired.", "expired")


def _key_rejection(code: str, message: str, header: str) -> Rejection:
    return Rejection(
        401,
        code,
        message,
        headers=(("www-authenticate", 'Bearer error="invalid_token"'), ("x-error-token", header)),
        hold=KEY_HOLD,
    )


def missing_model() -> Rejection:
    return Rejection(
        400,
        "missing_model",
        "you must provide a model parameter",
        param="model",
        headers=(("x-error-no-model-in-request", "true"),),
    )


def unknown_model(model: str) -> Rejection:
    return Rejection(
        404,
        "model_not_found",
        f"The model '{_preview(model)}' does not exist.",
        param="model",
        headers=(("x-error-no-model-backends", _header_value(model)),),
        hold=MODEL_HOLD,
    )


def forbidden_model(model: str) -> Rejection:
    return Rejection(
        403,
        "model_not_permitted",
        f"This API key may not use the model '{_preview(model)}'.",
        type="permission_error",
        param="model",
        headers=(("x-error-token", "model"),),
        hold=MODEL_HOLD,
    )


def unsupported_use(use: str) -> Rejection:
    """For a request that wants what the model's engine would drop in silence."""
    param, what = USES.get(use, (use, f"`{use}`"))
    return Rejection(400, "unsupported_parameter", f"The engine of this model does not keep {what}.", param=param)


def endpoint_not_ready(model: str, reason: str) -> Rejection:
    because = f": {reason}" if reason else ""
    return Rejection(
        503,
        "endpoint_not_ready",
        f"The model '{_preview(model)}' is not ready{because}.",
        type="server_error",
        headers=(
            ("retry-after", str(NOT_READY_RETRY_SECONDS)),
            ("x-error-no-model-backends", _header_value(model)),
        ),
        hold=NOT_READY_HOLD,
    )


def endpoint_starting(model: str, seconds: int) -> Rejection:
    """For an endpoint whose first replica starts because of this request; `seconds`: how long that takes."""
    return Rejection(
        503,
        "endpoint_not_ready",
        f"The model '{_preview(model)}' is starting: try again in {seconds} s.",
        type="server_error",
        headers=(("retry-after", str(seconds)), ("x-error-no-model-backends", _header_value(model))),
        hold=NOT_READY_HOLD,
    )


def invalid_number(param: str, requirement: str) -> Rejection:
    return Rejection(
        400,
        "invalid_value",
        f"'{param}' {requirement}.",
        param=param,
        headers=(("x-error-request-body-processing", "true"),),
    )


def not_understood(message: str) -> Rejection:
    """For a call that did not come from the gateway's filter, or came from another version of it."""
    return Rejection(400, "admission_not_understood", message)


def not_found(path: str) -> Rejection:
    return Rejection(404, "not_found", f"Unknown path {_preview(path)}.")


def method_not_allowed(allowed: str) -> Rejection:
    return Rejection(405, "method_not_allowed", f"Use {allowed}.", headers=(("allow", allowed),))


def limits_unavailable(kind: str) -> Rejection:
    """For a token whose policy is to reject while limits cannot be checked."""
    return Rejection(
        503,
        "limits_unavailable",
        f"{kind} cannot be checked at the moment.",
        type="server_error",
        headers=(
            ("retry-after", str(OVERLOADED_RETRY_SECONDS)),
            ("x-error-quota" if kind == "Quotas" else "x-error-rate-limit", "unavailable"),
        ),
    )


def quota_missing(quota: str) -> Rejection:
    return Rejection(
        503,
        "quota_not_found",
        f"The quota '{quota}' that this API key is charged to does not exist.",
        type="server_error",
        headers=(("retry-after", str(NOT_READY_RETRY_SECONDS)), ("x-error-quota", "missing")),
        hold=MODEL_HOLD,
    )


def over_limit(violations: Sequence[Violation], rates: Rates, use: RateUse, now_seconds: float) -> Rejection:
    """429. Budgets come first: waiting for a rate limit does not help while a budget is used up. Then limits that the
    request does not even fit into alone, for the same reason.
    """
    budgets = [violation for violation in violations if violation.quota]
    worst = max(budgets or violations, key=_urgency)
    headers = [("x-error-quota" if budgets else "x-error-rate-limit", "true")]
    if worst.resets_after_seconds is not None and not _never_fits(worst):
        headers.append(("retry-after", str(worst.resets_after_seconds)))
    headers.extend(rate_limit_headers(rates, use, now_seconds))
    return Rejection(
        429,
        "insufficient_quota" if budgets else "rate_limit_exceeded",
        _limit_message(worst),
        type="insufficient_quota" if budgets else _unit_kind(worst.limit_type),
        headers=tuple(headers),
        reason=worst.limit_type.value,
        violations=tuple(violations),
        hold=limit_hold(violations, now_seconds),
    )


def _unit_kind(limit_type: LimitType) -> str:
    return "requests" if limit_type in {RateLimitType.RPM, RateLimitType.RPD} else "tokens"


_UNITS: dict[LimitType, str] = {
    RateLimitType.RPM: "requests per minute",
    RateLimitType.RPD: "requests per day",
    RateLimitType.TPM: "tokens per minute",
    RateLimitType.TPD: "tokens per day",
    QuotaType.PROMPT: "prompt tokens",
    QuotaType.RESPONSE: "response tokens",
    QuotaType.TOTAL: "tokens",
}


def _limit_message(violation: Violation) -> str:
    unit = _UNITS[violation.limit_type]
    if violation.quota:
        message = f"You exceeded your quota '{violation.quota}': {violation.limit} {unit}"
    else:
        message = f"Rate limit reached: {violation.limit} {unit}"
    message += f", used {violation.used}, this request needs {violation.requested}."
    if _never_fits(violation):
        fewer = "" if _unit_kind(violation.limit_type) == "requests" else "request fewer tokens or "
        return f"{message} It can never fit: {fewer}have the limit raised."
    if violation.resets_after_seconds is None:
        return message
    return f"{message} Try again in {duration_text(violation.resets_after_seconds)}."


def _never_fits(violation: Violation) -> bool:
    return violation.requested > violation.limit


def _urgency(violation: Violation) -> tuple[bool, float]:
    wait = violation.resets_after_seconds
    return _never_fits(violation), float("inf") if wait is None else wait


def _details(violation: Violation) -> dict[str, Any]:
    return {
        "rule": violation.limit_type.value,
        "limit": violation.limit,
        "used": violation.used,
        "requested": violation.requested,
        "resetsAfterSeconds": violation.resets_after_seconds,
    } | ({"quota": violation.quota} if violation.quota else {})


def _preview(name: str) -> str:
    return name if len(name) <= _PREVIEW_CHARACTERS else name[:_PREVIEW_CHARACTERS] + "…"


def _header_value(name: str) -> str:
    return quote(_preview(name), safe=_VISIBLE)
