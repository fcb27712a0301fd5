"""What a worker of the gateway keeps between requests, with an explicit time in milliseconds."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arks.endpoint_router.testing.native import call

NOW = 1_795_843_628_123
GRANT = b"default/m/alice/lease0000001/10/20"


def number(value: int) -> bytes:
    return b"%d" % value


def run(name: str, *arguments: bytes | int | None) -> list[bytes | None]:
    return call(name, *(number(each) if isinstance(each, int) else each for each in arguments))


def numbers(members: list[bytes | None]) -> tuple[int | None, ...]:
    return tuple(None if member is None else int(member) for member in members)


def is_true(members: list[bytes | None]) -> bool:
    return members == [b"1"]


def new(name: str, *arguments: bytes | int) -> bytes:
    (handle,) = run(name, *arguments)
    assert handle is not None
    return handle


class Account:
    """The state of one key and model."""

    def __init__(self) -> None:
        self.handle = new("account_new")

    def query(self, now: int) -> tuple[tuple[int | None, ...], bool]:
        *demand, is_demand = run("account_query", self.handle, now)
        return numbers(demand), is_demand is not None

    def end_query(self, sent: int) -> None:
        run("account_end_query", self.handle, sent)

    def accept(self, sent: int, amount: bytes, *, now: int = 0, grant: bytes = GRANT) -> str:
        """Return the lease's line."""
        (line,) = run("account_accept", self.handle, sent, now or sent, grant, amount)
        assert line is not None
        return line.decode()

    def take(self, now: int, prompt: int = 1, completion: int = 1) -> bool:
        return is_true(run("account_take", self.handle, now, prompt, completion))

    def renews(self, now: int, prompt: int = 1, completion: int = 1) -> bool:
        return run("account_renews", self.handle, now, prompt, completion) != []

    def ends_in(self, now: int) -> int | None:
        """Return the remaining time of the present lease, if the next one should be queried because that ends."""
        members = run("account_renews", self.handle, now, 1, 1)
        return numbers(members)[0] if members else None

    def begin_renewal(self, now: int) -> tuple[int | None, ...]:
        """Return the demand."""
        return numbers(run("account_begin_renewal", self.handle, now))

    def end_renewal(
        self, now: int, amount: bytes, begins: int | None = None, *, grant: bytes = GRANT, starts: Path | None = None
    ) -> None:
        path = str(starts or "/dev/null").encode()
        run("account_end_renewal", self.handle, now, path, grant, amount, begins)

    def use_renewal(self, now: int, prompt: int = 1, completion: int = 1) -> bool:
        return is_true(run("account_use_renewal", self.handle, now, prompt, completion))

    def needs_confirmation(self, now: int) -> bool:
        return is_true(run("account_needs_confirmation", self.handle, now))

    def since(self, now: int) -> int:
        (since,) = numbers(run("account_since", self.handle, now))
        assert since is not None
        return since

    def confirm(self, sent: int, ended: bytes | None = b"-", life: bytes | None = b"life1", *, now: int = 0) -> None:
        run("account_confirm", self.handle, sent, now or sent, life, ended)

    def set_policy(self, policy: bytes) -> None:
        run("account_policy", self.handle, policy)

    def outage(self, now: int) -> bool:
        return is_true(run("account_outage", self.handle, now))


def leased(amount: bytes = b"2,10,20,1000,512") -> Account:
    account = Account()
    account.query(NOW)
    account.accept(NOW, amount)
    account.end_query(NOW)
    return account


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


@given(st.lists(st.tuples(st.integers(0, 400), st.binary(max_size=3)), max_size=400))
def test_a_table_is_bounded_and_keeps_what_was_used_lately(steps: list[tuple[int, bytes]]) -> None:
    table = new("table_new", 10, 200)
    recent: list[bytes] = []
    for each, suffix in steps:
        key = number(each % 30) + suffix
        run("table_put", table, key, each)
        recent = [*(known for known in recent if known != key), key][-5:]
        young, young_bytes, old, old_bytes = numbers(run("table_sizes", table))
        assert max(young or 0, old or 0) <= 10
        assert max(young_bytes or 0, old_bytes or 0) <= 200
        assert [number(each)] == run("table_get", table, key)
    assert [] == [key for key in recent if run("table_get", table, key) == [None]]


def test_a_key_that_is_read_survives_any_number_of_others() -> None:
    table = new("table_new", 10, 1000)
    run("table_put", table, b"used", 1)
    for each in range(100):
        run("table_put", table, number(each), each)
        assert [b"1"] == run("table_get", table, b"used")
    assert [None] == run("table_get", table, b"50")


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
    assert f"L\tlease0000001\t{NOW + 700}\t4\t110\t220\tdefault/m/alice\n" == line


def test_a_request_without_counters_has_no_lease_and_no_line() -> None:
    account = Account()
    assert "" == account.accept(NOW, b"5,5,5,1000,512", grant=b"default/m/alice/-/10/20")
    assert not account.take(NOW)


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


def finished(account: Account, at: int) -> tuple[int | None, ...]:
    account.end_query(NOW)
    return account.query(at)[0]


def test_demand_follows_what_was_admitted_in_the_lifetime_of_the_lease() -> None:
    account = leased(b"100,1000,2000,1000,512")
    assert all(account.take(NOW + 10 * number, 10, 20) for number in range(79))
    assert (99, 990, 1980) == finished(account, NOW + 5000)  # 80 a second and a quarter more, less the request itself


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


LONG = b"1000,9000,9000,15000,512"


def test_a_long_lease_counts_for_a_second_by_itself() -> None:
    account = leased(LONG)
    assert (True, False, False) == tuple(account.take(NOW + later) for later in (999, 1000, -1))


def test_a_confirmed_lease_counts_for_another_second_and_never_after_its_end() -> None:
    account = confirmed()
    for later in range(900, 15_000, 900):
        account.confirm(NOW + later)
        assert account.take(NOW + later + 999) == (later + 999 < 15_010)
        assert not account.take(NOW + later + 1000)


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


def confirmed() -> Account:
    account = Account()
    account.confirm(NOW)
    account.accept(NOW + 10, LONG)
    assert account.take(NOW + 15)
    return account


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


def test_without_an_answer_nothing_is_confirmed_and_requests_query_admission() -> None:
    account = confirmed()
    account.since(NOW + 800)
    account.confirm(NOW + 800, None, None, now=NOW + 1100)
    assert not account.take(NOW + 1100)
    assert (False, False, True) == tuple(account.needs_confirmation(NOW + later) for later in (1100, 2099, 2100))


def test_what_changed_before_the_first_answer_or_a_clock_set_back_is_unknown() -> None:
    assert (2**31 - 1, 2**31 - 1) == (Account().since(NOW), confirmed().since(NOW - 1))


def test_one_request_renews_a_lease_that_is_nearly_used_up() -> None:
    account = leased(b"32,320,640,1000,512")
    assert all(account.take(NOW, 10, 20) for _ in range(30))
    assert not account.renews(NOW)
    assert account.take(NOW, 10, 20)
    assert account.renews(NOW)
    account.query(NOW)
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
    assert f"L\tnext\t{NOW + 930 + 69 + 1000}\t100\t501\t501\tdefault/m/alice\n" == starts.read_text()
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
def test_a_change_ends_the_lease_of_the_next_window(ended: bytes) -> None:
    account = leased(b"32,320,640,1000,512")
    account.begin_renewal(NOW + 930)
    account.end_renewal(NOW + 931, b"99,500,500,1000,512", 69)
    assert not account.use_renewal(NOW + 940)
    account.confirm(NOW + 950, ended)
    account.use_renewal(NOW + 1000)
    assert not account.take(NOW + 1000)


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


def test_a_renewal_ahead_demands_as_much_as_used() -> None:
    account = leased(b"8,800,800,15000,512")
    account.confirm(NOW + 14_000, now=NOW + 14_000)
    account.accept(NOW, b"8,800,800,15000,512")
    assert account.take(NOW + 14_000)
    assert ((1, 7, 14), True) == account.query(NOW + 14_000)


def test_tokens_that_are_nearly_used_up_renew_a_lease() -> None:
    for prompt, completion in ((301, 0), (0, 601)):
        account = leased(b"32,320,640,1000,512")
        assert account.take(NOW, prompt, completion)
        assert account.renews(NOW)


@pytest.mark.parametrize(
    ("operation", "fields", "size", "expected"),
    [
        ("chat.completions", {}, 0, (1, 512, 1)),
        ("chat.completions", {}, 5, (2, 512, 1)),
        ("completions", {"answers": 3}, 4, (1, 1536, 3)),
        ("completions", {"answers": 3, "max_tokens": 7}, 8, (2, 21, 21)),
        ("completions", {"max_tokens": 0}, 9, (3, 0, 0)),
        ("embeddings", {"max_tokens": 7}, 400, (100, 0, 0)),
    ],
)
def test_a_request_reserves_what_token_quota_would_reserve(
    operation: str, fields: dict[str, int], size: int, expected: tuple[int, ...]
) -> None:
    given = [fields.get(name) for name in ("max_tokens", "answers")]
    assert expected == numbers(run("estimate", operation.encode(), size, *given, 512))


def test_without_a_default_the_completion_of_a_request_is_unknown() -> None:
    assert (1, None, 2) == numbers(run("estimate", b"completions", 4, None, 2, None))


def test_a_failure_policy_counts_for_ten_minutes() -> None:
    account = leased()
    assert not account.outage(NOW)
    account.set_policy(b"pass")
    assert (True, True, False) == (account.outage(NOW), account.outage(NOW + 599_999), account.outage(NOW + 600_000))
    account.set_policy(b"refuse")
    assert not account.outage(NOW)


@pytest.mark.parametrize(
    "text", [b"", b"1,2,3,4", b"1,2,3,4,5,6", b"1,2,3,4,x", b"-1,2,3,4,5", b"1, 2,3,4,5", b"9" * 60]
)
def test_a_lease_that_is_not_understood_is_none(text: bytes) -> None:
    assert [] == run("parse_terms", text)


@pytest.mark.parametrize(
    "text",
    [b"a/b/c/1/1", b"a/b/c/d/1/1/1", b"a/b/c/d/x/1", b"a/b//d/1/1", b"a/b/c\n/d/1/1", b"a/b/c/D/1/1", b"a/b/c/d/1/-1"],
)
def test_a_grant_that_is_not_understood_is_none(text: bytes) -> None:
    assert [] == run("parse_grant", text)


def test_a_lease_is_valid_for_a_minute_at_most() -> None:
    assert (1, 2, 3, 60_000, 512) == numbers(run("parse_terms", b"1,2,3,70000,512"))


def test_a_grant_has_subject_lease_and_reservation() -> None:
    assert [b"default/m/alice", b"lease0000001", b"10", b"20"] == run("parse_grant", GRANT)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"250,key", [b"250", b"key"]),
        (b"99999,model", [b"1000", b"model"]),
        (b"0,size", [b"0", b"size"]),
        (b"1,token", []),
        (b"1,", []),
        (b"", []),
        (b"x,key", []),
        (b"99999999999,key", []),
    ],
)
def test_a_rejection_is_repeated_for_a_second_at_most(text: bytes, expected: object) -> None:
    assert expected == run("parse_refusal", text)


def test_a_rejection_by_size_is_repeated_to_requests_that_need_as_much() -> None:
    rejections = new("rejections_new")
    run("rejections_hold", rejections, b"k", NOW, 100, b"{}", 10, 5)

    def is_held(prompt: int, completion: int, later: int = 0) -> bool:
        return [b"{}"] == run("rejections_held", rejections, b"k", NOW + later, prompt, completion)

    assert (True, True) == (is_held(10, 5), is_held(11, 6, 99))
    assert (False, False, False) == (is_held(9, 5), is_held(10, 4), is_held(10, 5, 100))
    assert not is_held(10, 5, -1000)


def test_in_an_outage_a_used_up_limit_rejects_until_its_window_ends() -> None:
    rejections = new("rejections_new")
    run("rejections_hold", rejections, b"k", NOW, 100, b"{}", 10, 5, 30_000)

    def is_held(prompt: int, completion: int, later: int = 0) -> bool:
        return [b"{}"] == run("rejections_held_in_outage", rejections, b"k", NOW + later, prompt, completion)

    assert (True, True, False) == (is_held(10, 5), is_held(11, 6, 29_999), is_held(10, 5, 30_000))
    assert (False, False) == (is_held(9, 5), is_held(10, 4))
    run("rejections_lift", rejections, b"k", 9, 4)
    assert is_held(10, 5)
    run("rejections_lift", rejections, b"k", 10, 5)
    assert not is_held(10, 5)


def test_a_rejection_without_a_window_does_not_count_in_an_outage() -> None:
    rejections = new("rejections_new")
    run("rejections_hold", rejections, b"k", NOW, 1000, b"{}", 0, 0)
    assert [None] == run("rejections_held_in_outage", rejections, b"k", NOW, 1, 1)


def test_a_long_rejection_is_not_kept() -> None:
    rejections = new("rejections_new")
    run("rejections_hold", rejections, b"k", NOW, 100, b"x" * 2049, 0, 0)
    assert [None] == run("rejections_held", rejections, b"k", NOW, 1, 1)
    run("rejections_hold", rejections, b"k", NOW, 100, b"x" * 2048, 0, 0)
    assert [None] != run("rejections_held", rejections, b"k", NOW, 1, 1)


def test_starts_are_appended_to_the_file_of_that_name(tmp_path: Path) -> None:
    path = tmp_path / "starts"
    starts = new("starts_new", str(path).encode())
    assert is_true(run("starts_append", starts, b"one\n", NOW))
    path.rename(tmp_path / "old")
    assert is_true(run("starts_append", starts, b"two\n", NOW + 999))
    assert is_true(run("starts_append", starts, b"three\n", NOW + 1000))
    assert ("one\ntwo\n", "three\n") == ((tmp_path / "old").read_text(), path.read_text())


def test_a_start_that_cannot_be_written_is_an_error_and_no_line(tmp_path: Path) -> None:
    path = tmp_path / "starts"
    path.symlink_to("/dev/full")
    starts = new("starts_new", str(path).encode())
    assert not is_true(run("starts_append", starts, b"lost\n", NOW))
    path.unlink()
    assert is_true(run("starts_append", starts, b"kept\n", NOW + 1000))
    assert "\t?\nkept\n" == path.read_text()
    no_file = new("starts_new", str(tmp_path).encode())
    assert not is_true(run("starts_append", no_file, b"x\n", NOW))
