"""Rejections that the gateway repeats, and what counts while admission does not answer."""

import pytest

from arks.endpoint_router.testing.leases import NOW, leased, new, run


def test_a_failure_policy_counts_for_ten_minutes() -> None:
    account = leased()
    assert not account.outage(NOW)
    account.set_policy(b"pass")
    assert (True, True, False) == (account.outage(NOW), account.outage(NOW + 599_999), account.outage(NOW + 600_000))
    account.set_policy(b"refuse")
    assert not account.outage(NOW)


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
