"""Every rejection, as Envoy passes it on, makes the official client raise its own typed exception."""

import httpx2
import openai
import pytest

from arks.token_quota.domain import answers
from arks.token_quota.domain.answers import Rejection, over_limit
from arks.token_quota.domain.limits import Account, Budget, BudgetUse, Rates, RateUse, violations
from arks.token_quota.domain.reservation import ReservationRequest

NOW = 1_800_000_030.0


def limited(account: Account) -> Rejection:
    found = violations(account, ReservationRequest(1, 1, exact=True), NOW)
    return over_limit(found, account.rates, account.rate_use, NOW)


RATE_LIMITED = limited(Account(Rates(rpm=1), rate_use=RateUse(1, 0, 1, 0)))
SPENT = limited(Account(Rates(), Budget("q", total=9), budget_use=BudgetUse(used_prompt=9)))


@pytest.mark.parametrize(
    ("rejection", "exception", "code"),
    [
        (answers.missing_key(), openai.AuthenticationError, "missing_api_key"),
        (answers.unknown_key(), openai.AuthenticationError, "invalid_api_key"),
        (answers.disabled_key(), openai.AuthenticationError, "api_key_disabled"),
        (answers.expired_key(), openai.AuthenticationError, "api_key_expired"),
        (answers.forbidden_model("phi"), openai.PermissionDeniedError, "model_not_permitted"),
        (answers.unknown_model("phi"), openai.NotFoundError, "model_not_found"),
        (answers.missing_model(), openai.BadRequestError, "missing_model"),
        (answers.invalid_number("n", "is wrong"), openai.BadRequestError, "invalid_value"),
        (answers.endpoint_not_ready("qwen", ""), openai.InternalServerError, "endpoint_not_ready"),
        (answers.limits_unavailable("Quotas"), openai.InternalServerError, "limits_unavailable"),
        (RATE_LIMITED, openai.RateLimitError, "rate_limit_exceeded"),
        (SPENT, openai.RateLimitError, "insufficient_quota"),
    ],
)
async def test_the_official_client_raises(
    rejection: Rejection, exception: type[openai.APIStatusError], code: str
) -> None:
    def answer(_: httpx2.Request) -> httpx2.Response:
        headers = [("content-type", "application/json"), *rejection.headers]
        return httpx2.Response(rejection.status, headers=headers, content=rejection.body)

    transport = httpx2.MockTransport(answer)
    async with (
        httpx2.AsyncClient(transport=transport) as http,
        openai.AsyncOpenAI(base_url="http://arks/v1", api_key="sk", max_retries=0, http_client=http) as client,
    ):
        with pytest.raises(exception) as raised:
            await client.chat.completions.create(model="qwen", messages=[{"role": "user", "content": "hello"}])
    assert (rejection.status, code) == (raised.value.status_code, raised.value.code)
    assert rejection.message in raised.value.message
