from hypothesis import given
from hypothesis import strategies as st

from arks.token_quota.domain.count import MAX_COUNT
from arks.token_quota.domain.estimate import estimate, shrink_prompt
from arks.token_quota.domain.limits import Account, Budget, Rates, violations
from arks.token_quota.domain.reservation import ReservationRequest
from arks.token_quota.testing.oracle import granted_completion_tokens


def test_a_prompt_is_a_quarter_of_its_bytes_rounded_up() -> None:
    sizes = {0: 1, 1: 1, 4: 1, 5: 2, 4000: 1000}
    assert sizes == {size: estimate(size, None, None, "completions", 512).prompt_tokens for size in sizes}


def test_the_estimate_of_the_filter_counts() -> None:
    sizes = [
        estimate(4000, None, None, "completions", 512, prompt_tokens=given).prompt_tokens for given in (None, 3000, 0)
    ]
    assert [1000, 3000, 1] == sizes


def test_an_explicit_completion_is_reserved_for_each_answer() -> None:
    assert ReservationRequest(25, 300, exact=True) == estimate(100, 100, 3, "chat.completions", 512)


def test_without_max_tokens_the_default_is_reserved_and_one_token_an_answer_needed() -> None:
    assert ReservationRequest(25, 512, exact=False, min_completion_tokens=1) == estimate(
        100, None, None, "chat.completions", 512
    )
    assert ReservationRequest(25, 1024, exact=False, min_completion_tokens=2) == estimate(
        100, None, 2, "chat.completions", 512
    )


def test_an_embedding_reserves_no_completion() -> None:
    assert ReservationRequest(25, 0, exact=True, min_completion_tokens=0) == estimate(
        100, None, None, "embeddings", 512
    )


def test_max_tokens_of_zero_is_exact() -> None:
    assert ReservationRequest(25, 0, exact=True) == estimate(100, 0, None, "completions", 512)


@given(st.integers(0, 2**31), st.none() | st.integers(0, MAX_COUNT), st.none() | st.integers(1, 128))
def test_an_estimate_stays_in_the_range_of_the_counters(size: int, most: int | None, n: int | None) -> None:
    tokens = estimate(size, most, n, "chat.completions", 512)
    assert (
        0 < tokens.prompt_tokens <= 2**31
        and 0 <= tokens.needed_completion_tokens <= tokens.completion_tokens <= MAX_COUNT
    )


@given(st.integers(0, 10_000), st.integers(26, 10_000))
def test_a_small_limit_stays_usable_without_max_tokens(used: int, limit: int) -> None:
    tokens = estimate(100, None, None, "chat.completions", 512)
    account = Account(Rates(tpm=used + limit))
    assert min(512, used + limit - 25) == granted_completion_tokens(account, tokens)


LIMITS = st.none() | st.integers(1, 5000)


@given(st.integers(0, 2**31), st.none() | st.integers(0, 4000), st.tuples(LIMITS, LIMITS, LIMITS, LIMITS))
def test_no_prompt_is_too_long_for_limits_that_nothing_uses(
    size: int, most: int | None, limits: tuple[int | None, ...]
) -> None:
    tpm, tpd, prompt, total = limits
    rates, budget = Rates(tpm=tpm, tpd=tpd), Budget("q", prompt=prompt, total=total)
    tokens = estimate(size, most, None, "chat.completions", 512)
    shrunk = shrink_prompt(tokens, rates, budget)
    fits = all(tokens.needed_completion_tokens < limit for limit in (tpm, tpd, total) if limit is not None)
    assert fits == (violations(Account(rates, budget), shrunk, 0) == ())
    assert 1 <= shrunk.prompt_tokens <= tokens.prompt_tokens


def test_a_prompt_that_fits_is_reserved_whole() -> None:
    tokens = estimate(4000, 100, None, "chat.completions", 512)
    assert tokens == shrink_prompt(tokens, Rates(tpm=1100, tpd=5000), None)
    assert tokens == shrink_prompt(tokens, Rates(), None)
