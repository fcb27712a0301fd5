"""How refusals look to clients: OpenAI's error envelope, status, and headers that official clients and older ones read.

Types and codes follow OpenAI's, so that its clients raise their typed exceptions: 400 BadRequestError, 401
AuthenticationError, 403 PermissionDeniedError, 404 NotFoundError, 429 RateLimitError. The `x-error-*` headers are
those that clients of the same resource group know. A key is never part of an answer.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import quote

from arks.token_quota.domain.limits import (
    Rates,
    RateUse,
    Remainder,
    Rule,
    Violation,
    remaining_requests,
    remaining_tokens,
)

Headers = tuple[tuple[str, str], ...]

NOT_READY_RETRY_SECONDS = 5
OVERLOADED_RETRY_SECONDS = 1
_VISIBLE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) != "%")
_SHOWN_CHARACTERS = 200
"""Of a name that a client sent: enough to recognise it."""


@dataclass(frozen=True)
class Refusal:
    """The final answer for a client that gets nothing."""

    status: int
    code: str
    message: str
    type: str = "invalid_request_error"
    param: str | None = None
    headers: Headers = ()
    reason: str = ""
    """For metrics: the code, or the broken rule."""
    violations: tuple[Violation, ...] = ()

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


def missing_key() -> Refusal:
    return Refusal(
        401,
        "missing_api_key",
        "You didn't provide an API key. Send it as `Authorization: Bearer <key>`.",
        headers=(("www-authenticate", "Bearer"), ("x-error-token", "missing")),
    )


def unknown_key() -> Refusal:
    return _key_refusal("invalid_api_key", "Incorrect API key provided.", "invalid")


def disabled_key() -> Refusal:
    return _key_refusal("api_key_disabled", "This API key is disabled.", "disabled")


def expired_key() -> Refusal:
    return _key_refusal("api_key_expired", "This API key has expired.", "expired")


def _key_refusal(code: str, message: str, header: str) -> Refusal:
    return Refusal(
        401,
        code,
        message,
        headers=(("www-authenticate", 'Bearer error="invalid_token"'), ("x-error-token", header)),
    )


def missing_model() -> Refusal:
    return Refusal(
        400,
        "missing_model",
        "you must provide a model parameter",
        param="model",
        headers=(("x-error-no-model-in-request", "true"),),
    )


def unknown_model(model: str) -> Refusal:
    return Refusal(
        404,
        "model_not_found",
        f"The model '{_shown(model)}' does not exist.",
        param="model",
        headers=(("x-error-no-model-backends", _header_value(model)),),
    )


def forbidden_model(model: str) -> Refusal:
    return Refusal(
        403,
        "model_not_permitted",
        f"This API key may not use the model '{_shown(model)}'.",
        type="permission_error",
        param="model",
        headers=(("x-error-token", "model"),),
    )


def endpoint_not_ready(model: str, why: str) -> Refusal:
    because = f": {why}" if why else ""
    return Refusal(
        503,
        "endpoint_not_ready",
        f"The model '{_shown(model)}' is not ready{because}.",
        type="server_error",
        headers=(
            ("retry-after", str(NOT_READY_RETRY_SECONDS)),
            ("x-error-no-model-backends", _header_value(model)),
        ),
    )


def invalid_number(param: str, rule: str) -> Refusal:
    return Refusal(
        400,
        "invalid_value",
        f"'{param}' {rule}.",
        param=param,
        headers=(("x-error-request-body-processing", "true"),),
    )


def not_understood(what: str) -> Refusal:
    """A call that did not come from the gateway's filter, or from one of another version."""
    return Refusal(400, "admission_not_understood", what)


def not_found(path: str) -> Refusal:
    return Refusal(404, "not_found", f"Unknown path {_shown(path)}.")


def method_not_allowed(allowed: str) -> Refusal:
    return Refusal(405, "method_not_allowed", f"Use {allowed}.", headers=(("allow", allowed),))


def counters_away(what: str) -> Refusal:
    """Limits cannot be checked now, and the token's policy is to refuse then."""
    return Refusal(
        503,
        "limits_unavailable",
        f"{what} cannot be checked at the moment.",
        type="server_error",
        headers=(
            ("retry-after", str(OVERLOADED_RETRY_SECONDS)),
            ("x-error-quota" if what == "Quotas" else "x-error-rate-limit", "unavailable"),
        ),
    )


def quota_missing(quota: str) -> Refusal:
    return Refusal(
        503,
        "quota_not_found",
        f"The quota '{quota}' that this API key is charged to does not exist.",
        type="server_error",
        headers=(("retry-after", str(NOT_READY_RETRY_SECONDS)), ("x-error-quota", "missing")),
    )


def over_limit(violations: Sequence[Violation], rates: Rates, use: RateUse, now_seconds: float) -> Refusal:
    """429. Budgets come first: waiting for a rate limit would not help."""
    budgets = [violation for violation in violations if violation.quota]
    worst = max(budgets or violations, key=_wait_seconds)
    headers = [("x-error-quota" if budgets else "x-error-rate-limit", "true")]
    if worst.resets_after_seconds is not None and worst.asked <= worst.limit:
        headers.append(("retry-after", str(worst.resets_after_seconds)))
    headers.extend(rate_limit_headers(rates, use, now_seconds))
    return Refusal(
        429,
        "insufficient_quota" if budgets else "rate_limit_exceeded",
        _limit_message(worst),
        type="insufficient_quota" if budgets else _limit_type(worst.rule),
        headers=tuple(headers),
        reason=worst.rule.value,
        violations=tuple(violations),
    )


def rate_limit_headers(rates: Rates, use: RateUse, now_seconds: float) -> list[tuple[str, str]]:
    """x-ratelimit-{limit,remaining,reset}-{requests,tokens}, for the rules that there are."""
    headers: list[tuple[str, str]] = []
    if not rates.limited:
        return headers
    for kind, remainder in (
        ("requests", remaining_requests(rates, use, now_seconds)),
        ("tokens", remaining_tokens(rates, use, now_seconds)),
    ):
        if remainder is not None:
            headers.extend(_remainder_headers(kind, remainder))
    return headers


def _remainder_headers(kind: str, remainder: Remainder) -> tuple[tuple[str, str], ...]:
    return (
        (f"x-ratelimit-limit-{kind}", str(remainder.limit)),
        (f"x-ratelimit-remaining-{kind}", str(remainder.remaining)),
        (f"x-ratelimit-reset-{kind}", duration_text(remainder.reset_seconds)),
    )


def duration_text(seconds: int) -> str:
    """As OpenAI writes resets: 59s, 6m0s, 23h59m59s."""
    hours, rest = divmod(seconds, 3600)
    minutes, left = divmod(rest, 60)
    if hours:
        return f"{hours}h{minutes}m{left}s"
    return f"{minutes}m{left}s" if minutes else f"{left}s"


def _limit_type(rule: Rule) -> str:
    return "requests" if rule in {Rule.RPM, Rule.RPD} else "tokens"


_UNITS = {
    Rule.RPM: "requests per minute",
    Rule.RPD: "requests per day",
    Rule.TPM: "tokens per minute",
    Rule.TPD: "tokens per day",
    Rule.PROMPT: "prompt tokens",
    Rule.RESPONSE: "response tokens",
    Rule.TOTAL: "tokens",
}


def _limit_message(violation: Violation) -> str:
    unit = _UNITS[violation.rule]
    if violation.quota:
        told = f"You exceeded your quota '{violation.quota}': {violation.limit} {unit}"
    else:
        told = f"Rate limit reached: {violation.limit} {unit}"
    told += f", used {violation.used}, this request needs {violation.asked}."
    if violation.asked > violation.limit:
        return f"{told} It can never fit: ask for fewer tokens or have the limit raised."
    if violation.resets_after_seconds is None:
        return told
    return f"{told} Try again in {duration_text(violation.resets_after_seconds)}."


def _wait_seconds(violation: Violation) -> float:
    return float("inf") if violation.resets_after_seconds is None else violation.resets_after_seconds


def _details(violation: Violation) -> dict[str, Any]:
    return {
        "rule": violation.rule.value,
        "limit": violation.limit,
        "used": violation.used,
        "requested": violation.asked,
        "resetsAfterSeconds": violation.resets_after_seconds,
    } | ({"quota": violation.quota} if violation.quota else {})


def _shown(name: str) -> str:
    return name if len(name) <= _SHOWN_CHARACTERS else name[:_SHOWN_CHARACTERS] + "…"


def _header_value(name: str) -> str:
    return quote(_shown(name), safe=_VISIBLE)
