"""What a lease of the gateway admits, when it needs confirmation, and what ends it."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from arks.endpoint_router.testing.leases import LONG, NOW, Account, confirmed, leased

AMOUNTS = st.tuples(st.integers(0, 20), st.integers(0, 60), st.integers(0, 60))
STEPS = st.one_of(
    st.tuples(st.just("lease"), st.integers(0, 400), AMOUNTS, st.integers(0, 1200)),
    st.tuples(st.just("take"), st.integers(0, 400), st.integers(1, 20), st.integers(0, 20)),
)


@given(st.lists(STEPS, max_size=60))
def test_a_lease_admits_no_more_than_granted_and_never_after_its_end(steps: list[Any]) -> None:
    account, now = Account(), NOW
    granted, stop = [0, 0, 0], 0
    for kind, pause, first, second in steps:
        now += pause
        if kind == "lease":
            account.accept(now, b"%d,%d,%d,%d,512" % (*first, second))
            if first[0]:
                granted, stop = list(first), now + min(second, 1000)
        elif account.take(now, first, second):
            granted = [rest - used for rest, used in zip(granted, (1, first, second), strict=True)]
            assert min(granted) >= 0
            assert now < stop
        else:
            assert now >= stop or granted[0] < 1 or granted[1] < first or granted[2] < second


def test_a_lease_is_not_valid_before_it_began() -> None:
    assert not leased().take(NOW - 1)


def test_a_request_that_does_not_fit_takes_nothing_from_others() -> None:
    account = leased()
    assert (False, False) == (account.take(NOW, 11), account.take(NOW, 1, 21))
    assert (True, True, False) == (account.take(NOW, 10), account.take(NOW, 0), account.take(NOW, 0))


def test_a_grant_without_a_lease_does_not_replace_one() -> None:
    account = leased()
    account.accept(NOW, b"0,0,0,1000,512")
    assert account.take(NOW)


def test_the_line_of_a_lease_includes_the_request_that_demanded_it() -> None:
    line = Account().accept(NOW, b"3,100,200,700,512", now=NOW + 400)
    assert f'["L","lease0000001",{NOW + 700},4,110,220,"default/m/alice"]\n' == line


def test_a_request_without_counters_has_no_lease_and_no_line() -> None:
    account = Account()
    assert "" == account.accept(NOW, b"5,5,5,1000,512", grant=b"default/m/alice/-/10/20")
    assert not account.take(NOW)


def test_a_long_lease_counts_for_a_second_by_itself() -> None:
    account = leased(LONG)
    assert (True, False, False) == tuple(account.take(NOW + later) for later in (999, 1000, -1))


def test_a_confirmed_lease_counts_for_another_second_and_never_after_its_end() -> None:
    account = confirmed()
    for later in range(900, 15_000, 900):
        account.confirm(NOW + later)
        assert account.take(NOW + later + 999) == (later + 999 < 15_010)
        assert not account.take(NOW + later + 1000)


def test_a_confirmation_counts_from_when_its_query_was_sent() -> None:
    account = confirmed()
    account.confirm(NOW + 700, now=NOW + 990)
    assert [True, False] == [account.take(NOW + later) for later in (1699, 1700)]


def test_a_lease_ends_with_its_token_or_endpoint_or_namespace() -> None:
    for subject in (
        b"token:default/alice",
        b"endpoint:default/m",
        b"token:a/b endpoint:default/m",
        b"namespace:default",
    ):
        account = confirmed()
        account.confirm(NOW + 20, subject)
        assert not account.take(NOW + 30)
    other = confirmed()
    other.confirm(NOW + 20, b"token:default/bob endpoint:default/alice token:other/alice namespace:other")
    assert other.take(NOW + 30)


def test_every_lease_ends_when_too_much_changed_or_the_counters_are_new() -> None:
    for ended, life in ((b"*", b"life1"), (b"-", b"life2")):
        account = confirmed()
        account.confirm(NOW + 20, ended, life)
        assert not account.take(NOW + 30)
        account.accept(NOW + 40, LONG)
        assert account.take(NOW + 50)


def test_one_request_confirms_ahead_and_all_do_when_they_have_to() -> None:
    account = confirmed()
    assert (False, True) == (account.needs_confirmation(NOW + 709), account.needs_confirmation(NOW + 710))
    assert 710 == account.since(NOW + 710)
    assert (False, True) == (account.needs_confirmation(NOW + 711), account.needs_confirmation(NOW + 1010))
    account.confirm(NOW + 710, now=NOW + 1011)
    assert not account.needs_confirmation(NOW + 1012)


def test_a_lease_of_a_second_needs_no_confirmation() -> None:
    account = leased()
    assert not any(account.needs_confirmation(NOW + later) for later in (0, 800, 999, 1000))


def test_a_lease_that_has_ended_needs_no_confirmation() -> None:
    account = confirmed()
    assert [True, False] == [account.needs_confirmation(NOW + later) for later in (15_009, 15_010)]
    account.confirm(NOW + 20, b"*")
    assert not account.needs_confirmation(NOW + 2000)


def test_a_lease_that_is_confirmed_until_its_end_needs_no_other_confirmation() -> None:
    account = confirmed()
    account.confirm(NOW + 14_200)
    assert not account.needs_confirmation(NOW + 15_000)


def test_without_an_answer_nothing_is_confirmed_and_requests_query_admission() -> None:
    account = confirmed()
    account.since(NOW + 800)
    account.confirm(NOW + 800, None, None, now=NOW + 1100)
    assert not account.take(NOW + 1100)
    assert (False, False, True) == tuple(account.needs_confirmation(NOW + later) for later in (1100, 2099, 2100))


def test_what_changed_before_the_first_answer_or_a_clock_set_back_is_unknown() -> None:
    assert (2**31 - 1, 2**31 - 1) == (Account().since(NOW), confirmed().since(NOW - 1))
