"""How much a query for a lease demands."""

from arks.endpoint_router.testing.leases import NOW, Account, leased


def test_a_first_query_demands_as_little_as_there_is() -> None:
    assert ((1, 0, 0), True) == Account().query(NOW)


def test_one_query_at_a_time_demands_more_than_its_request() -> None:
    account = leased(b"50,1000,1000,1000,512")
    account.end_query(NOW)
    assert all(account.take(NOW + 100) for _ in range(50))
    (requests, _, _), is_demand = account.query(NOW + 500)
    assert (True, True) == (is_demand, (requests or 0) > 0)
    assert ((0, 0, 0), False) == account.query(NOW + 501)
    account.end_query(NOW + 500)
    assert account.query(NOW + 502)[1]


def test_a_query_that_never_returns_blocks_demands_for_two_seconds() -> None:
    account = Account()
    account.query(NOW)
    assert [False, False, True] == [account.query(NOW + later)[1] for later in (1, 1999, 2000)]


def test_the_end_of_a_query_that_took_too_long_does_not_end_the_one_after_it() -> None:
    account = Account()
    account.query(NOW)
    assert account.query(NOW + 2000)[1]
    account.end_query(NOW)
    assert not account.query(NOW + 2001)[1]


def finished(account: Account, at: int) -> tuple[int | None, ...]:
    account.end_query(NOW)
    return account.query(at)[0]


def test_demand_follows_what_was_admitted_in_the_lifetime_of_the_lease() -> None:
    account = leased(b"100,1000,2000,1000,512")
    assert all(account.take(NOW + 10 * number, 10, 20) for number in range(79))
    assert (99, 990, 1980) == finished(account, NOW + 5000)  # 80 a second and a quarter more, less the request itself


def test_demand_forgets_what_was_admitted_before_the_last_query() -> None:
    account = leased(b"100,1000,2000,1000,512")
    assert all(account.take(NOW + 10 * number, 10, 20) for number in range(79))
    finished(account, NOW + 1000)
    account.end_query(NOW + 1000)
    account.accept(NOW + 1000, b"0,0,0,1000,512")
    assert (1, 10, 20) == account.query(NOW + 2000)[0]


def test_a_lease_that_is_used_up_early_is_at_least_doubled() -> None:
    account = leased(b"10,100,200,1000,512")
    assert all(account.take(NOW + 800, 10, 20) for _ in range(10))
    assert (20, 200, 400) == finished(account, NOW + 800)


def test_a_burst_is_no_rate() -> None:
    assert (12, 120, 240) == finished(leased(b"0,0,0,1000,512"), NOW + 1)


def test_a_key_of_few_requests_still_demands_one_a_second() -> None:
    assert (1, 10, 20) == finished(leased(b"0,0,0,1000,512"), NOW + 3000)


def test_a_long_lease_that_is_used_up_early_is_doubled_by_the_second() -> None:
    account = Account()
    account.query(NOW - 60_000)  # so that the rate alone demands less
    account.end_query(NOW - 60_000)
    account.accept(NOW, b"50,500,1000,10000,512")
    assert all(account.take(NOW + 900, 10, 20) for _ in range(50))
    assert (10, 100, 200) == finished(account, NOW + 900)


def test_demand_has_an_upper_limit() -> None:
    account = leased(b"4096,2000000000,2000000000,1000,512")
    assert all(account.take(NOW, 400_000, 400_000) for _ in range(4096))
    assert (4096, 2**31 - 1, 2**31 - 1) == finished(account, NOW + 100)


def test_a_renewal_ahead_demands_as_much_as_used() -> None:
    account = leased(b"8,800,800,15000,512")
    account.confirm(NOW + 14_000, now=NOW + 14_000)
    account.accept(NOW, b"8,800,800,15000,512")
    assert account.take(NOW + 14_000)
    assert ((1, 7, 14), True) == account.query(NOW + 14_000)
