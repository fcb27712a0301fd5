"""When the drain program stops waiting for the streams of its Envoy."""

import pytest

from arks.endpoint_router.programs.drain import FAILURES, POLL_SECONDS, QUIET_SECONDS, EnvoyAdmin, drain


class Admin(EnvoyAdmin):
    """Returns the given numbers of requests in turn, and raises the errors; the last is repeated."""

    def __init__(self, *active: int | OSError, drains: OSError | None = None) -> None:
        super().__init__(0)
        self.drained = 0
        self._active = list(active)
        self._drains = drains

    def drain(self) -> None:
        if self._drains is not None:
            raise self._drains
        self.drained += 1

    def active_requests(self) -> int:
        value = self._active.pop(0) if len(self._active) > 1 else self._active[0]
        if isinstance(value, OSError):
            raise value
        return value


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


def test_drain_waits_for_the_last_stream(time: Time) -> None:
    assert "no request is in flight" == ended(Admin(3, 3, 1, 0), time)
    assert 105.0 + 3 * POLL_SECONDS + QUIET_SECONDS == pytest.approx(time.now, abs=POLL_SECONDS)


def test_drain_waits_on_where_requests_still_come(time: Time) -> None:
    """A node whose rules are late sends new ones, one after the other with pauses."""
    pauses = [0, 0, 1, 0, 0, 0, 1, 0]
    assert "no request is in flight" == ended(Admin(*pauses), time)
    assert 105.0 + (len(pauses) - 1) * POLL_SECONDS + QUIET_SECONDS == pytest.approx(time.now, abs=POLL_SECONDS)


def test_drain_waits_for_clients_even_without_requests_in_flight(time: Time) -> None:
    ended(Admin(0), time)
    assert 105.0 + QUIET_SECONDS == pytest.approx(time.now, abs=POLL_SECONDS)


def test_a_stream_that_never_ends_is_cut_when_its_time_is_up(time: Time) -> None:
    assert "2 requests are still in flight after the time limit" == ended(Admin(2), time, drain_seconds=30.0)
    assert 135.0 == pytest.approx(time.now, abs=0.5)


def test_envoy_is_drained_once(time: Time) -> None:
    admin = Admin(1, TimeoutError("busy"), 1, 0)
    ended(admin, time)
    assert 1 == admin.drained


def test_drain_goes_on_after_a_query_that_timed_out(time: Time) -> None:
    errors = [TimeoutError("busy")] * (FAILURES - 1)
    assert "no request is in flight" == ended(Admin(4, *errors, 4, 0), time)


def test_drain_ends_when_envoy_is_gone(time: Time) -> None:
    admin = Admin(1, drains=ConnectionRefusedError("no process listens"))
    assert ended(admin, time).startswith("Envoy does not answer")
    assert 2.0 == pytest.approx(time.now - 100.0, abs=0.3)
