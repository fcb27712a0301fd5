"""Work of replicas from load reports."""

from arks.app_deployer.adapters.local.work import FRESH_SECONDS, Work
from arks.events.v1.load_pb2 import LoadReport, ReplicaLoad
from arks.kit.key import Key
from arks.kit.testing.clock import FakeClock

KEY = Key("default", "app")


def report(*loads: ReplicaLoad) -> LoadReport:
    return LoadReport(namespace="default", application="app", replicas=loads)


def load(name: str, running: float = 0.0, waiting: float = 0.0, problem: str = "") -> ReplicaLoad:
    return ReplicaLoad(name=name, running_requests=running, waiting_requests=waiting, problem=problem)


def test_work_is_what_runs_and_waits(clock: FakeClock) -> None:
    work = Work(clock)
    work.take(report(load("app-0", 2, 1), load("app-1"), load("app-2", 9, problem="no answer")))
    assert {"app-0": 3.0, "app-1": 0.0} == work.of(KEY)
    assert {} == work.of(Key("other", "app"))


def test_an_old_report_and_one_of_a_single_replica_decide_nothing(clock: FakeClock) -> None:
    work = Work(clock)
    work.take(report(load("app-0", 2), load("app-1")))
    clock.advance(FRESH_SECONDS + 1)
    assert {} == work.of(KEY)
    work.take(report(load("app-0", 2), load("app-1")))
    work.take(report(load("app-0", 2)))
    assert {} == work.of(KEY)
