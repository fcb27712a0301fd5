import re
from typing import Any

import pytest

from arks.kit.testing.clock import FakeClock
from arks.token_quota.domain.answers import Rejection
from arks.token_quota.domain.lease import LeaseAmount
from arks.token_quota.domain.limits import BudgetUse, RateUse
from arks.token_quota.service.admission import Admission, AdmitRequest, Granted, bearer
from arks.token_quota.service.ports.ledger import Ledger
from arks.token_quota.testing.admission import make_admission
from arks.token_quota.testing.fakes import BrokenLedger, FakeCounters, Harness, quota, token

RATES = [{"type": "rpm", "value": 5}, {"type": "tpm", "value": 1000}]
LIMITED = [{"arksEndpoint": {"name": "qwen"}, "rateLimits": RATES}]
CHARGED = [{"arksEndpoint": {"name": "qwen"}, "quota": {"name": "q"}}]


def call(key: str | None = "Bearer sk-tom", model: str = "qwen", **changes: object) -> AdmitRequest:
    fields = {"authorization": key, "gateway": "gw", "model": model, "operation": "completions", "text_bytes": 400}
    return AdmitRequest(**(fields | changes))  # type: ignore[arg-type]


@pytest.fixture
def admission(harness: Harness, counters: FakeCounters, ledger: Ledger, clock: FakeClock) -> Admission:
    return make_admission(harness, counters, ledger, clock)


async def granted(admission: Admission, request: AdmitRequest) -> Granted:
    answer = await admission.admit(request)
    assert isinstance(answer, Granted), answer
    return answer


async def refused(admission: Admission, request: AdmitRequest) -> Rejection:
    answer = await admission.admit(request)
    assert isinstance(answer, Rejection), answer
    return answer


async def test_a_grant_names_who_uses_what_and_what_is_reserved(admission: Admission, harness: Harness) -> None:
    harness.add(token(qos=LIMITED))
    harness.endpoint()
    answer = await granted(admission, call())
    assert f"team/qwen/tom/{answer.grant.lease}/100/512" == str(answer.grant)
    assert "5" == dict(answer.headers)["x-ratelimit-limit-requests"]


async def test_a_long_prompt_is_admitted_while_nothing_else_uses_the_limit(
    admission: Admission, harness: Harness
) -> None:
    harness.add(token(qos=LIMITED))
    harness.endpoint()
    answer = await granted(admission, call(text_bytes=400_000, max_tokens=300))
    assert (700, 300) == (answer.grant.prompt_tokens, answer.grant.completion_tokens)


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic sk-tom", "sk-tom"])
async def test_without_a_key_the_answer_is_401(admission: Admission, header: str | None) -> None:
    assert (401, "missing_api_key") == ((answer := await refused(admission, call(header))).status, answer.code)


async def test_an_unknown_key_is_401_and_is_not_echoed(admission: Admission) -> None:
    answer = await refused(admission, call("Bearer sk-secret-guess"))
    assert (401, "invalid_api_key") == (answer.status, answer.code)
    assert b"guess" not in answer.body
    assert not any("guess" in value for _, value in answer.headers)


async def test_a_disabled_token_is_rejected_once_the_watch_delivers_it(admission: Admission, harness: Harness) -> None:
    harness.add(token())
    harness.endpoint()
    await granted(admission, call())
    harness.add(token(disabled=True))
    assert "api_key_disabled" == (await refused(admission, call())).code


async def test_a_deleted_token_is_rejected_once_the_watch_delivers_it(admission: Admission, harness: Harness) -> None:
    harness.add(token())
    harness.endpoint()
    (key,) = [key for key, _ in harness.tokens.items()]
    harness.tokens.apply(key, None)
    assert "invalid_api_key" == (await refused(admission, call())).code


async def test_models_are_404_403_or_503_as_they_do_not_exist_are_not_permitted_or_not_ready(
    admission: Admission, harness: Harness
) -> None:
    harness.add(token())
    harness.endpoint("phi")
    assert 404 == (await refused(admission, call())).status
    assert 403 == (await refused(admission, call(model="phi"))).status
    harness.endpoint("qwen", ready=False, message="no replica is ready")
    assert 503 == (await refused(admission, call())).status


async def test_a_request_without_a_model_is_400(admission: Admission, harness: Harness) -> None:
    harness.add(token())
    assert 400 == (await refused(admission, call(model=""))).status


async def test_over_a_limit_is_429_and_counted_by_its_rule(
    admission: Admission, harness: Harness, counters: FakeCounters
) -> None:
    harness.add(token(qos=LIMITED))
    harness.endpoint()
    counters.rate_use = RateUse(5, 0, 5, 0)
    assert (429, "rate_limit_exceeded") == ((answer := await refused(admission, call())).status, answer.code)
    labels = {"namespace": "team", "user": "tom", "model": "qwen", "rule_type": "rpm"}
    assert 1 == harness.metric("gateway_rate_limit_hits_total", **labels)
    assert 1 == harness.metric("arks_admission_decisions_total", reason="rpm")


async def test_a_used_up_budget_is_429_insufficient_quota(
    admission: Admission, harness: Harness, counters: FakeCounters
) -> None:
    harness.add(token(qos=CHARGED), quota(total=100))
    harness.endpoint()
    counters.budget_use = BudgetUse(used_prompt=100)
    assert (429, "insufficient_quota") == ((answer := await refused(admission, call())).status, answer.code)


async def test_a_budget_that_does_not_exist_refuses_unless_its_policy_is_open(
    admission: Admission, harness: Harness
) -> None:
    harness.add(token(qos=CHARGED))
    harness.endpoint()
    assert (503, "quota_not_found") == ((answer := await refused(admission, call())).status, answer.code)
    harness.add(token(qos=CHARGED, failurePolicy={"budgets": "Open"}))
    await granted(admission, call())


async def test_missing_counters_are_made_from_the_ledger(
    admission: Admission, harness: Harness, counters: FakeCounters
) -> None:
    harness.add(token(qos=CHARGED), quota(total=10_000))
    harness.endpoint()
    counters.missing = 2
    await granted(admission, call())
    assert 2 == len(counters.filled)


async def test_sums_that_came_too_late_are_read_again(
    admission: Admission, harness: Harness, counters: FakeCounters
) -> None:
    harness.add(token(qos=LIMITED))
    harness.endpoint()
    counters.missing, counters.stale = 3, 2
    await granted(admission, call())
    assert 2 == len(counters.filled)


async def test_while_redis_is_away_rates_are_open_and_budgets_closed(
    admission: Admission, harness: Harness, counters: FakeCounters
) -> None:
    harness.add(token(qos=LIMITED), quota(total=10_000))
    harness.endpoint()
    counters.away = True
    answer = await granted(admission, call(demand=LeaseAmount(10, 100, 100)))
    assert ("-", 512, LeaseAmount(), 0) == (
        answer.grant.lease,
        answer.grant.completion_tokens,
        answer.extra,
        answer.milliseconds,
    )
    harness.add(token(qos=CHARGED))
    rejection = await refused(admission, call())
    assert (503, "limits_unavailable", "1") == (
        rejection.status,
        rejection.code,
        dict(rejection.headers)["retry-after"],
    )
    assert None is rejection.hold
    assert 1 == harness.metric("arks_admission_without_limits_total", policy="open")
    assert 1 == harness.metric("arks_admission_without_limits_total", policy="closed")


async def test_a_token_chooses_its_own_failure_policy(
    admission: Admission, harness: Harness, counters: FakeCounters
) -> None:
    harness.endpoint()
    counters.away = True
    harness.add(token(qos=LIMITED, failurePolicy={"rates": "Closed"}), quota(total=10_000))
    assert 503 == (await refused(admission, call())).status
    harness.add(token(qos=CHARGED, failurePolicy={"budgets": "Open"}))
    await granted(admission, call())


async def test_an_unlimited_token_does_not_notice_that_redis_is_away(
    admission: Admission, harness: Harness, counters: FakeCounters
) -> None:
    harness.add(token())
    harness.endpoint()
    counters.away = True
    await granted(admission, call())


async def test_counters_that_cannot_be_made_because_the_ledger_is_away_fall_under_the_policy(
    harness: Harness, counters: FakeCounters, ledger: Ledger, clock: FakeClock
) -> None:
    admission = make_admission(harness, counters, BrokenLedger(ledger), clock)
    harness.add(token(qos=CHARGED), quota(total=10_000))
    harness.endpoint()
    counters.missing = 9
    assert 503 == (await refused(admission, call())).status


FREE = [{"arksEndpoint": {"name": "qwen"}}]
BOTH = [LIMITED[0] | CHARGED[0]]


@pytest.mark.parametrize(
    ("spec", "passes"),
    [
        ({"qos": LIMITED}, True),
        ({"qos": LIMITED, "failurePolicy": {"rates": "Closed"}}, False),
        ({"qos": CHARGED}, False),
        ({"qos": CHARGED, "failurePolicy": {"budgets": "Open"}}, True),
        ({"qos": BOTH, "failurePolicy": {"budgets": "Open"}}, True),
        ({"qos": BOTH, "failurePolicy": {"budgets": "Open", "rates": "Closed"}}, False),
        ({"qos": FREE, "failurePolicy": {"budgets": "Closed", "rates": "Closed"}}, True),
    ],
)
async def test_a_grant_carries_what_the_policy_wants_while_limits_cannot_be_checked(
    admission: Admission, harness: Harness, counters: FakeCounters, spec: dict[str, Any], passes: bool
) -> None:
    harness.add(token(**spec), quota(total=10_000))
    harness.endpoint()
    assert passes == (await granted(admission, call())).passes_outage
    counters.away = True
    assert passes == isinstance(await admission.admit(call()), Granted)


async def test_a_lease_ends_with_the_utc_minute_and_after_a_second(
    admission: Admission, harness: Harness, counters: FakeCounters, clock: FakeClock
) -> None:
    harness.add(token())
    harness.endpoint()
    assert 1000 == (await granted(admission, call(max_tokens=7, n=2))).milliseconds
    clock.advance(59.3)
    assert 700 == (await granted(admission, call())).milliseconds
    first, second = counters.granted
    assert ((1000, 60_000), (700, 700)) == (first.validity, second.validity)
    assert ("gw", 14) == (first.gateway, first.tokens.completion_tokens)


async def test_a_lease_holds_an_eighth_of_the_room_and_the_headers_show_the_state_after_it(
    admission: Admission, harness: Harness, counters: FakeCounters
) -> None:
    harness.add(token(qos=[{"arksEndpoint": {"name": "qwen"}, "rateLimits": [{"type": "rpm", "value": 161}]}]))
    harness.endpoint()
    answer = await granted(admission, call(demand=LeaseAmount(40, 400, 80)))
    assert LeaseAmount(20, 200, 40) == answer.extra
    assert "140" == dict(answer.headers)["x-ratelimit-remaining-requests"]


async def test_no_two_leases_have_the_same_id(
    admission: Admission, harness: Harness, counters: FakeCounters, ledger: Ledger, clock: FakeClock
) -> None:
    harness.add(token())
    harness.endpoint()
    for part in (admission, make_admission(harness, counters, ledger, clock)):
        for _ in range(20):
            await granted(part, call())
    leases = {command.lease for command in counters.granted}
    assert 40 == len(leases)
    assert all(re.fullmatch("[0-9a-z]{12,}-", lease) for lease in leases)


async def test_the_gateway_may_repeat_a_rejection_for_a_second_at_most(
    admission: Admission, harness: Harness, counters: FakeCounters, clock: FakeClock
) -> None:
    assert (1000, "key", 0) == (await refused(admission, call())).hold
    harness.add(token(qos=LIMITED))
    assert (1000, "model", 0) == (await refused(admission, call())).hold
    harness.endpoint()
    counters.rate_use = RateUse(5, 0, 5, 0)
    assert (1000, "model", 60_000) == (await refused(admission, call())).hold
    counters.rate_use = RateUse(0, 1000, 0, 1000)
    assert (100, "size", 60_000) == (await refused(admission, call())).hold
    clock.advance(59.95)
    assert (50, "size", 50) == (await refused(admission, call())).hold


def test_the_word_bearer_may_be_written_in_any_case() -> None:
    assert ["k", "k", None] == [bearer("bearer k"), bearer("BEARER  k "), bearer("token k")]


@pytest.mark.parametrize(("expiry", "expected"), [("2026-01-01T00:01:00Z", 0), ("2026-01-01T00:01:01Z", 5000)])
async def test_no_lease_begins_after_the_end_of_its_key(
    admission: Admission, harness: Harness, clock: FakeClock, expiry: str, expected: int
) -> None:
    harness.add(token(expiresAt=expiry))
    harness.endpoint()
    clock.advance(55)
    answer = await granted(admission, call(demand=LeaseAmount(1, 10, 10), remaining_milliseconds=5000))
    assert expected == answer.begins_in_milliseconds
