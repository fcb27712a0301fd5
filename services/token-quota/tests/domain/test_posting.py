from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from arks.contracts.usage import UsageSource
from arks.token_quota.domain.posting import DayKey, Posted, daily_sums, post
from arks.token_quota.domain.usage import Usage

DAY = 20_000
USAGE = Usage(
    request_id="r1",
    namespace="team",
    token="tom",
    endpoint="qwen",
    quota="q",
    operation="chat.completions",
    source=UsageSource.ENGINE,
    started_at_milliseconds=DAY * 86_400_000 + 5,
    prompt_tokens=10,
    completion_tokens=20,
)
CHARGED = replace(USAGE, source=UsageSource.RESERVATION, prompt_tokens=100, completion_tokens=200)


def test_a_request_is_posted_once() -> None:
    entries = post({}, [USAGE, USAGE])
    assert [(0, 1, 10, 20)] == [(e.revision, e.requests, e.prompt_tokens, e.completion_tokens) for e in entries]


def test_what_the_ledger_has_is_not_posted_again() -> None:
    assert [] == post({"r1": Posted(USAGE, 0)}, [USAGE, replace(USAGE, prompt_tokens=99)])


def test_a_true_record_corrects_a_charged_reservation_by_the_difference() -> None:
    (entry,) = post({"r1": Posted(CHARGED, 0)}, [USAGE])
    assert (1, 0, -90, -180) == (entry.revision, entry.requests, entry.prompt_tokens, entry.completion_tokens)


def test_a_correction_is_final() -> None:
    assert [] == post({"r1": Posted(USAGE, 1)}, [replace(USAGE, prompt_tokens=5)])


def test_a_reservation_never_replaces_a_true_record_nor_another_reservation() -> None:
    assert [] == post({"r1": Posted(USAGE, 0)}, [CHARGED])
    assert [] == post({"r1": Posted(CHARGED, 0)}, [CHARGED])


def test_a_correction_goes_to_the_day_and_the_budget_of_the_charge() -> None:
    late = replace(USAGE, quota="another", started_at_milliseconds=USAGE.started_at_milliseconds + 86_400_000)
    (entry,) = post({"r1": Posted(CHARGED, 0)}, [late])
    assert ("q", CHARGED.started_at_milliseconds) == (entry.usage.quota, entry.usage.started_at_milliseconds)


def test_daily_sums_move_a_corrected_request_from_one_source_to_the_other() -> None:
    sums = daily_sums(post({}, [CHARGED, USAGE]))
    key = DayKey("team", "tom", "qwen", "q", int(UsageSource.RESERVATION), DAY)
    assert (0, 0, 0) == (sums[key].requests, sums[key].prompt_tokens, sums[key].completion_tokens)
    key = replace(key, source=int(UsageSource.ENGINE))
    assert (1, 10, 20) == (sums[key].requests, sums[key].prompt_tokens, sums[key].completion_tokens)


usages = st.builds(
    lambda number, source, prompt, completion: replace(
        USAGE, request_id=f"r{number}", source=source, prompt_tokens=prompt, completion_tokens=completion
    ),
    st.integers(0, 3),
    st.sampled_from(UsageSource),
    st.integers(0, 100),
    st.integers(0, 100),
)


@given(st.lists(usages, max_size=20))
def test_in_any_order_each_request_costs_its_first_true_record_or_its_reservation(
    given: list[Usage],
) -> None:
    expected: dict[str, Usage] = {}
    for usage in given:
        before = expected.get(usage.request_id)
        if before is None or (before.source is UsageSource.RESERVATION and usage.source is not UsageSource.RESERVATION):
            expected[usage.request_id] = usage
    entries = post({}, given)
    assert len(expected) == sum(entry.requests for entry in entries)
    assert sum(u.prompt_tokens for u in expected.values()) == sum(entry.prompt_tokens for entry in entries)
    assert sum(u.completion_tokens for u in expected.values()) == sum(
        s.completion_tokens for s in daily_sums(entries).values()
    )
