"""When a lease is renewed before it ends, and the lease of the next window."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arks.endpoint_router.testing.leases import NOW, Account, leased


def test_one_request_renews_a_lease_that_is_nearly_used_up() -> None:
    account = leased(b"32,320,640,1000,512")
    assert all(account.take(NOW, 10, 20) for _ in range(30))
    assert not account.renews(NOW)
    assert account.take(NOW, 10, 20)
    assert account.renews(NOW)
    account.query(NOW)
    assert not account.renews(NOW)
    account.end_query(NOW)
    assert not account.renews(NOW)
    assert account.take(NOW, 10, 20)


@pytest.mark.parametrize(("requests", "renews"), [(64, True), (15, False)])
def test_a_lease_of_more_than_a_few_requests_is_renewed_before_its_end(requests: int, renews: bool) -> None:
    account = leased(b"%d,640,640,1000,512" % requests)
    assert all(account.take(NOW) for _ in range(requests // 2))
    assert (False, renews, False) == tuple(account.renews(NOW + later) for later in (849, 930, 1000))


def test_a_long_lease_of_few_requests_is_renewed_before_the_next_ones() -> None:
    account = leased(b"8,800,800,15000,512")
    assert not account.renews(NOW + 100)
    account.confirm(NOW + 6000, now=NOW + 6000)
    account.accept(NOW + 6000, b"12,800,800,15000,512")
    assert all(account.take(NOW + 6000 + each) for each in range(9))  # with the query's own ten in 10 s
    assert [False, True] == [account.renews(NOW + 6000 + later) for later in (9000, 10_000)]
    near_a_limit = leased(b"8,800,800,1000,512")
    assert near_a_limit.take(NOW)
    assert not near_a_limit.renews(NOW + 999)


def test_a_lease_of_a_whole_minute_is_renewed_in_its_last_quarter() -> None:
    account = leased(b"60,6000,6000,60000,512")
    account.confirm(NOW + 44_000, now=NOW + 44_000)
    account.accept(NOW, b"60,6000,6000,60000,512")
    assert account.take(NOW + 44_000)
    assert [False, True] == [account.renews(NOW + later) for later in (44_999, 45_000)]


def test_a_lease_is_renewed_five_mean_times_between_requests_before_its_end() -> None:
    account = leased(b"32,800,800,10000,512")
    assert all(account.take(NOW + each) for each in range(9))  # with the query's own ten
    assert [False, True] == [account.renews(NOW + later) for later in (6600, 6700)]


def test_a_lease_is_renewed_at_half_of_it_at_the_earliest() -> None:
    account = leased(b"8,800,800,10000,512")
    assert [False, True] == [account.renews(NOW + later) for later in (4999, 5000)]


def test_a_long_lease_of_one_request_is_not_renewed() -> None:
    assert not leased(b"1,800,800,10000,512").renews(NOW + 9999)


SOON = st.integers(0, 60)


@given(to_quota=SOON, rest=st.integers(1, 400), way=SOON, back=SOON, pauses=st.lists(SOON, min_size=1, max_size=60))
def test_a_lease_of_the_next_window_admits_in_that_only_and_without_a_wait(
    to_quota: int, rest: int, way: int, back: int, pauses: list[int]
) -> None:
    """token-quota grants a lease for the rest of its minute, and when that is renewed one for the next minute."""
    account = Account()
    account.query(NOW)
    account.accept(NOW, b"40,40,40,%d,512" % rest, now=NOW + to_quota)
    account.end_query(NOW)
    boundary, now = NOW + to_quota + rest, NOW + to_quota
    room, sent = {False: 40, True: 0}, 0
    for pause in pauses:
        now += pause
        if sent and now >= sent + way + back and not room[True]:
            account.end_renewal(sent + way + back, b"39,100,100,1000,512", boundary - sent - way)
            room[True] = 40  # with what is reserved for the one that queries
        account.use_renewal(now)
        is_next = now >= boundary
        if account.take(now):
            room[is_next] -= 1
            assert room[is_next] >= 0
            assert now < boundary + 1000
        elif room[is_next]:
            assert NOW + rest <= now < boundary + back or now >= boundary + 1000 - way
        if not sent and account.ends_in(now) is not None and now + way < boundary:
            sent = now
            account.begin_renewal(now)


def test_a_lease_that_is_used_up_is_renewed_while_one_waits_for_the_next_window(tmp_path: Path) -> None:
    account = leased(b"32,320,640,1000,512")
    assert account.take(NOW + 930)
    assert 70 == account.ends_in(NOW + 930)
    account.begin_renewal(NOW + 930)
    starts = tmp_path / "starts"
    account.end_renewal(NOW + 931, b"99,500,500,1000,512", 69, grant=b"default/m/alice/next/1/1", starts=starts)
    assert f'["L","next",{NOW + 930 + 69 + 1000},100,501,501,"default/m/alice"]\n' == starts.read_text()
    assert not account.use_renewal(NOW + 940)
    assert not account.renews(NOW + 940)
    assert account.take(NOW + 940, 319, 1)
    assert account.renews(NOW + 940)
    assert account.ends_in(NOW + 940) is None
    assert account.query(NOW + 940)[1]  # the renewal ahead is not in flight any more
    account.accept(NOW + 940, b"9,90,90,50,512")
    account.end_query(NOW + 940)
    assert account.take(NOW + 941)
    assert account.use_renewal(NOW + 1000)
    assert account.take(NOW + 1000, 500, 500)


@pytest.mark.parametrize("ended", [b"*", b"token:default/alice"])
@pytest.mark.parametrize("begins", [69, None])
def test_a_change_ends_the_lease_of_a_renewal_that_was_begun_before_it(ended: bytes, begins: int | None) -> None:
    """Whether that waits for the next window, or waits to be used."""
    account = leased(b"32,320,640,1000,512")
    account.confirm(NOW)
    account.accept(NOW + 1, b"32,320,640,1000,512")
    account.begin_renewal(NOW + 930)
    account.end_renewal(NOW + 931, b"99,500,500,1000,512", begins)
    assert not account.use_renewal(NOW + 940)
    account.confirm(NOW + 950, ended)
    account.use_renewal(NOW + 1000)
    assert not account.take(NOW + 1000)


def test_a_change_of_another_token_does_not_end_the_lease_of_the_next_window() -> None:
    account = leased(b"32,320,640,1000,512")
    account.confirm(NOW)
    account.accept(NOW + 1, b"32,320,640,1000,512")
    account.begin_renewal(NOW + 930)
    account.end_renewal(NOW + 931, b"99,500,500,1000,512", 69)
    account.confirm(NOW + 950, b"token:default/bob")
    assert account.use_renewal(NOW + 1001)
    assert account.take(NOW + 1001)


def test_a_renewal_is_used_when_the_present_lease_has_not_enough() -> None:
    account = leased(b"32,320,640,1000,512")
    account.begin_renewal(NOW + 10)
    account.end_renewal(NOW + 20, b"99,500,500,1000,512")
    assert [False, True] == [account.use_renewal(NOW + 30, prompt) for prompt in (320, 321)]
    assert account.take(NOW + 30, 321)


def test_a_lease_of_the_next_window_does_not_replace_the_present_one_before_it_begins() -> None:
    account = leased(b"32,320,640,1000,512")
    account.begin_renewal(NOW + 930)
    account.end_renewal(NOW + 931, b"99,500,500,1000,512", 69)
    assert not account.use_renewal(NOW + 940, 321)
    assert account.take(NOW + 940, 320)


def test_a_lease_of_the_next_window_admits_nothing_on_a_clock_that_is_set_back_to_before_it() -> None:
    account = leased(b"32,320,640,1000,512")
    account.begin_renewal(NOW + 930)
    account.end_renewal(NOW + 931, b"99,500,500,1000,512", 69)
    assert account.use_renewal(NOW + 1000)
    assert [False, True] == [account.take(NOW + later) for later in (999, 1000)]


def test_a_clock_that_is_set_back_ends_the_wait_for_the_next_window() -> None:
    account = leased(b"32,320,640,1000,512")
    account.begin_renewal(NOW + 930)
    account.end_renewal(NOW + 931, b"99,500,500,1000,512", 69)
    before = NOW - 60_000
    assert not account.take(before)
    account.use_renewal(before)
    assert not account.take(before)
    assert account.query(before)[1]


def test_a_lease_that_does_not_suffice_for_another_such_request_is_renewed() -> None:
    account = leased(b"32,320,640,1000,512")
    assert account.take(NOW, 161, 1)
    assert [False, True] == [account.renews(NOW, prompt) for prompt in (159, 160)]


def test_tokens_that_are_nearly_used_up_renew_a_lease() -> None:
    for prompt, completion in ((301, 0), (0, 601)):
        account = leased(b"32,320,640,1000,512")
        assert account.take(NOW, prompt, completion)
        assert account.renews(NOW)
