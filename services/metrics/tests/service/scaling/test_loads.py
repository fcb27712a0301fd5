"""Loads of applications that this replica of metrics reads, and of those that another one does."""

from datetime import UTC, datetime

from arks.kit.key import Key
from arks.kit.testing.clock import FakeClock
from arks.metrics.domain.engines import Snapshot
from arks.metrics.domain.members import Member, owner
from arks.metrics.domain.rates import Rates
from arks.metrics.domain.replicas import NOT_READ, Application, Reading, Replica, ReplicaReport
from arks.metrics.service.collector import Collector
from arks.metrics.service.ports import ReadPolicy
from arks.metrics.service.scaling.loads import Received, SharedLoads
from arks.metrics.testing.members import alone

KEY = Key("default", "app")
ONE, TWO = Replica("app-0", "127.0.0.1", 1), Replica("app-1", "127.0.0.1", 2)
BUSY = ReplicaReport(Reading(Snapshot(3.0, 1.0), Rates(), datetime(2026, 1, 1, tzinfo=UTC), 0.0), "")


class Reported:
    def __init__(self, received: Received | None) -> None:
        self.received = received

    def newest(self, key: Key) -> Received | None:
        return self.received


def loads(received: Received | None, *, own: bool) -> SharedLoads:
    """`own`: whether this member reads the application; its engines have not answered yet."""
    members = alone("a")
    other = next(name for name in map(str, range(100)) if (owner(KEY, [name, "a"]) == "a") == own)
    members.take(Member(other, ready=True), 0.0)
    collector = Collector(None, None, FakeClock(), ReadPolicy(), members)  # type: ignore[arg-type]  # nothing is read
    collector.change(KEY, Application("vllm", (ONE, TWO)))
    return SharedLoads(collector, Reported(received))


def test_a_load_that_another_member_reports_counts() -> None:
    received = {ONE: BUSY, TWO: BUSY}
    assert received == loads(Received(received, 0.5), own=False).reports(KEY)


def test_a_report_that_is_too_old_is_a_problem_and_no_load() -> None:
    found = loads(Received({ONE: BUSY, TWO: BUSY}, 4.0), own=False).reports(KEY)
    assert ["no load report for 4 s"] * 2 == [report.problem for report in found.values()]


def test_a_single_idle_replica_is_reported_seldom() -> None:
    assert {ONE: BUSY} == loads(Received({ONE: BUSY}, 100.0), own=False).reports(KEY)


def test_what_another_member_reported_last_counts_until_the_first_reading() -> None:
    received = {ONE: BUSY, TWO: BUSY}
    assert received == loads(Received(received, 0.5), own=True).reports(KEY)


def test_an_application_that_no_member_has_reported_is_not_read_yet() -> None:
    assert {} == loads(None, own=False).reports(KEY)
    assert [NOT_READ] * 2 == [report.problem for report in loads(None, own=True).reports(KEY).values()]
