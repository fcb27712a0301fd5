from hypothesis import given
from hypothesis import strategies as st

from arks.token_quota.domain.speed import MAX_ENDPOINTS, Speeds


def test_tokens_are_those_of_the_time_at_the_speed_of_the_last_answers() -> None:
    speeds = Speeds()
    speeds.measure("team", "qwen", 100, 2000)
    assert (50, 20) == (speeds.made("team", "qwen", 1000, 512), speeds.made("team", "qwen", 1000, 20))
    for _ in range(100):
        speeds.measure("team", "qwen", 300, 2000)
    assert 149 <= speeds.made("team", "qwen", 1000, 512) <= 150


def test_an_endpoint_that_has_not_answered_has_made_nothing() -> None:
    speeds = Speeds()
    speeds.measure("team", "qwen", 100, 2000)
    assert (0, 0) == (speeds.made("other", "qwen", 1000, 512), speeds.made("team", "other", 1000, 512))


def test_the_oldest_endpoint_is_forgotten_first() -> None:
    speeds = Speeds()
    for number in range(MAX_ENDPOINTS + 1):
        speeds.measure("team", f"e{number}", 100, 1000)
    assert (0, 100) == (speeds.made("team", "e0", 1000, 512), speeds.made("team", "e1", 1000, 512))


@given(st.lists(st.tuples(st.integers(0, 2**31), st.integers(0, 2**31))), st.integers(0, 2**31), st.integers(0, 2**31))
def test_no_more_than_the_reservation_is_charged(answers: list[tuple[int, int]], duration: int, most: int) -> None:
    speeds = Speeds()
    for tokens, milliseconds in answers:
        speeds.measure("team", "qwen", tokens, milliseconds)
    assert 0 <= speeds.made("team", "qwen", duration, most) <= most
