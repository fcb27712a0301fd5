"""Envoy's end: when the program that waits for its streams stops waiting."""

import pytest

from arks.endpoint_router.programs.drain import FAILURES, EnvoyAdmin, drain


class Admin(EnvoyAdmin):
    """Says one number of requests after the other; an error is raised. The last one is said for ever."""

    def __init__(self, *active: int | OSError, drains: OSError | None = None) -> None:
        super().__init__(0)
        self.asked = 0
        self._active = list(active)
        self._drains = drains

    def drain(self) -> None:
        if self._drains is not None:
            raise self._drains
        self.asked += 1

    def active_requests(self) -> int:
        said = self._active.pop(0) if len(self._active) > 1 else self._active[0]
        if isinstance(said, OSError):
            raise said
        return said


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def time() -> Time:
    return Time()


def ended(admin: Admin, time: Time, drain_seconds: float = 300.0) -> str:
    return drain(admin, 5.0, drain_seconds, clock=time.clock, sleep=time.sleep)


def test_it_waits_until_the_last_stream_has_ended(time: Time) -> None:
    assert "no request is under way" == ended(Admin(3, 3, 1, 0), time)
    assert 1 == round((time.now - 105.0) / 0.6)


def test_it_waits_for_clients_to_notice_even_when_nothing_is_under_way(time: Time) -> None:
    ended(Admin(0), time)
    assert 105.0 == time.now


def test_a_stream_that_never_ends_is_cut_when_its_time_is_up(time: Time) -> None:
    assert "2 requests are still under way: their time is up" == ended(Admin(2), time, drain_seconds=30.0)
    assert 135.0 == pytest.approx(time.now, abs=0.5)


def test_envoy_is_asked_to_drain_once(time: Time) -> None:
    admin = Admin(1, TimeoutError("busy"), 1, 0)
    ended(admin, time)
    assert 1 == admin.asked


def test_a_busy_envoy_that_misses_a_question_is_still_waited_for(time: Time) -> None:
    errors = [TimeoutError("busy")] * (FAILURES - 1)
    assert "no request is under way" == ended(Admin(4, *errors, 4, 0), time)


def test_an_envoy_that_is_gone_is_not_waited_for(time: Time) -> None:
    admin = Admin(1, drains=ConnectionRefusedError("nobody listens"))
    assert ended(admin, time).startswith("Envoy does not answer")
    assert 2.0 == pytest.approx(time.now - 100.0, abs=0.3)
