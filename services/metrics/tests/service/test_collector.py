"""Rounds of queries and reports, with scripted engines."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from arks.kit.clock import SystemClock
from arks.kit.errors import Unavailable
from arks.kit.key import Key
from arks.kit.testing.clock import FakeClock
from arks.kit.testing.wait import eventually
from arks.metrics.domain import idle
from arks.metrics.domain.members import Member, Members, owner
from arks.metrics.domain.replicas import Application, Replica, ReplicaReport
from arks.metrics.service.collector import Collector
from arks.metrics.service.ports import ReadPolicy
from arks.metrics.service.reader import ReplicaReader, ReplicaRecord
from arks.metrics.testing.members import alone

KEY = Key("default", "app")
ONE, TWO = Replica("app-0", "127.0.0.1", 1), Replica("app-1", "127.0.0.1", 2)
IDLE, BUSY = b"llamacpp:requests_processing 0\n", b"llamacpp:requests_processing 3\n"
POLICY = ReadPolicy(tick_seconds=0.01, late_seconds=0.05)


class ScriptedEngines:
    """A page, an error, or an event to wait for, by port."""

    def __init__(self) -> None:
        self.by_port: dict[int, bytes | Exception | asyncio.Event] = {1: IDLE, 2: IDLE}
        self.queried: list[int] = []
        self.in_flight = 0
        self.most_in_flight = 0

    async def page(self, host: str, port: int) -> bytes:
        self.queried.append(port)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            answer = self.by_port.get(port, IDLE)
            if isinstance(answer, asyncio.Event):
                await answer.wait()
                return BUSY
            await asyncio.sleep(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        finally:
            self.in_flight -= 1


class KeptReports:
    def __init__(self) -> None:
        self.all: list[tuple[Key, dict[Replica, ReplicaReport]]] = []

    async def publish(self, key: Key, report: Mapping[Replica, ReplicaReport]) -> None:
        self.all.append((key, dict(report)))

    def last(self, replica: Replica) -> ReplicaReport | None:
        return self.all[-1][1].get(replica) if self.all else None


class Running:
    def __init__(self, policy: ReadPolicy = POLICY, members: Members | None = None) -> None:
        self.engines = ScriptedEngines()
        self.reports = KeptReports()
        self.members = members or alone()
        self.collector = Collector(self.engines, self.reports, SystemClock(), policy, self.members)

    @asynccontextmanager
    async def __call__(self, *replicas: Replica, runtime: str = "llamacpp") -> AsyncIterator["Running"]:
        self.collector.change(KEY, Application(runtime, replicas))
        task = asyncio.create_task(self.collector.run())
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def running_requests(self, replica: Replica) -> float | None:
        report = self.reports.last(replica)
        return report.reading.snapshot.running_requests if report and report.reading else None

    async def reported(self, replica: Replica, problem: str) -> ReplicaReport:
        """Wait for a report in which the replica's problem starts with `problem`; an empty one means no problem."""

        def found() -> ReplicaReport | None:
            report = self.reports.last(replica)
            fits = report is not None and (report.problem.startswith(problem) if problem else not report.problem)
            return report if fits else None

        report = await eventually(found, what=f"{problem!r} of {replica.name}")
        assert report is not None
        return report


async def test_each_report_holds_every_replica_of_the_application() -> None:
    async with Running()(ONE, TWO) as running:
        await running.reported(TWO, "")
        assert (KEY, {ONE, TWO}) == (running.reports.all[-1][0], set(running.reports.all[-1][1]))


async def test_the_first_report_already_has_readings() -> None:
    unhurried = ReadPolicy(tick_seconds=0.25)
    async with Running(unhurried)(ONE) as running:
        await eventually(lambda: running.reports.all)
        assert "" == running.reports.all[0][1][ONE].problem


async def test_a_new_value_on_a_page_is_in_the_next_report() -> None:
    async with Running()(ONE) as running:
        await running.reported(ONE, "")
        running.engines.by_port[1] = BUSY
        await eventually(lambda: running.running_requests(ONE) == 3.0)


async def test_one_that_fails_is_a_problem_and_the_other_is_read_on() -> None:
    async with Running()(ONE, TWO) as running:
        running.engines.by_port[1] = Unavailable("connection refused")
        await running.reported(ONE, "connection refused (for ")
        queried = running.engines.queried.count(2)
        await eventually(lambda: running.engines.queried.count(2) > queried + 3)
        await running.reported(TWO, "")


async def test_an_unexpected_error_is_a_problem_of_that_replica_alone() -> None:
    async with Running()(ONE, TWO) as running:
        running.engines.by_port[1] = ZeroDivisionError("odd page")
        await running.reported(ONE, "could not be read: ZeroDivisionError")
        await running.reported(TWO, "")


async def test_one_that_hangs_is_overdue_then_read_again_when_it_answers() -> None:
    async with Running()(ONE, TWO) as running:
        running.engines.by_port[1] = answer = asyncio.Event()
        await running.reported(ONE, "no answer for ")
        reports = len(running.reports.all)
        await eventually(lambda: len(running.reports.all) > reports + 3)
        assert 1 == running.engines.queried.count(1)
        answer.set()
        report = await running.reported(ONE, "")
        assert report.reading is not None
        assert 3.0 == report.reading.snapshot.running_requests


async def test_a_page_that_is_not_understood_is_a_problem() -> None:
    async with Running()(ONE) as running:
        running.engines.by_port[1] = b"<html>"
        await running.reported(ONE, "the page (6 bytes) has no metric known of llamacpp")


async def test_a_runtime_without_known_metrics_is_a_problem() -> None:
    async with Running()(ONE, runtime="tgi") as running:
        await running.reported(ONE, "no metrics are known of runtime 'tgi'")
        assert [] == running.engines.queried


async def test_a_lone_idle_replica_is_read_seldom_until_it_works_or_is_alone_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(idle, "REST_AFTER_SECONDS", 0.05)
    monkeypatch.setattr(idle, "REST_SECONDS", 1.0)
    async with Running()(ONE) as running:
        await running.reported(ONE, "")
        await asyncio.sleep(0.2)
        running.engines.queried.clear()
        await asyncio.sleep(0.3)
        assert len(running.engines.queried) <= 1
        running.engines.by_port[1] = BUSY
        await eventually(lambda: running.running_requests(ONE) == 3)
        running.engines.queried.clear()
        await eventually(lambda: len(running.engines.queried) >= 5, within_seconds=4)
        running.engines.by_port[1] = IDLE
        await asyncio.sleep(0.2)
        running.collector.change(KEY, Application("llamacpp", (ONE, TWO)))
        running.engines.queried.clear()
        await eventually(lambda: running.engines.queried.count(1) >= 5, within_seconds=4)


async def test_a_replica_that_is_gone_is_reported_no_more_and_a_new_one_is() -> None:
    async with Running()(ONE) as running:
        await running.reported(ONE, "")
        running.collector.change(KEY, Application("llamacpp", (TWO,)))
        await running.reported(TWO, "")
        assert {TWO} == set(running.reports.all[-1][1])


async def test_an_application_that_is_gone_is_reported_no_more_and_its_queries_end() -> None:
    async with Running()(ONE) as running:
        running.engines.by_port[1] = asyncio.Event()
        await eventually(lambda: running.engines.in_flight)
        running.collector.change(KEY, None)
        await eventually(lambda: not running.engines.in_flight)
        await eventually(lambda: f"load of {KEY}" not in {task.get_name() for task in asyncio.all_tasks()})


async def test_a_replica_that_restarted_is_known_anew() -> None:
    async with Running()(ONE) as running:
        await running.reported(ONE, "")
        again = Replica(ONE.name, ONE.host, ONE.port, restarts=1)
        running.engines.by_port[1] = Unavailable("connection refused")
        running.collector.change(KEY, Application("llamacpp", (again,)))
        report = await running.reported(again, "connection refused")
        assert report.reading is None


async def test_no_more_queries_are_in_flight_than_allowed() -> None:
    replicas = [Replica(f"app-{index}", "127.0.0.1", 100 + index) for index in range(20)]
    running = Running(replace(POLICY, concurrent_reads=4))
    for replica in replicas:
        running.engines.by_port[replica.port] = asyncio.Event()
    async with running(*replicas):
        await eventually(lambda: len(running.reports.all) > 5)
        assert 4 == running.engines.most_in_flight


async def test_replicas_that_hang_do_not_take_the_slots_of_those_that_answer() -> None:
    running = Running(replace(POLICY, concurrent_reads=2, concurrent_silent_reads=1))
    hanging = [Replica(f"app-{index}", "127.0.0.1", 100 + index) for index in range(8)]
    for replica in hanging:
        running.engines.by_port[replica.port] = Unavailable("no answer within 5 s")
    async with running(ONE, *hanging):
        for replica in hanging:
            await running.reported(replica, "no answer within")
            running.engines.by_port[replica.port] = asyncio.Event()
        queried = running.engines.queried.count(1)
        await eventually(lambda: running.engines.queried.count(1) > queried + 5)


@pytest.mark.parametrize("applications", [30])
async def test_applications_do_not_have_their_turn_at_the_same_time(applications: int) -> None:
    running = Running(replace(POLICY, tick_seconds=0.2))
    loop = asyncio.get_running_loop()
    turns: dict[Key, float] = {}
    publish = running.reports.publish

    async def note(key: Key, report: Mapping[Replica, ReplicaReport]) -> None:
        turns.setdefault(key, loop.time())
        await publish(key, report)

    running.reports.publish = note  # type: ignore[method-assign]
    for index in range(applications):
        running.collector.change(Key("default", f"app-{index}"), Application("llamacpp", (ONE,)))
    async with running(ONE):
        await eventually(lambda: len(turns) == applications + 1)
    assert max(turns.values()) - min(turns.values()) > 0.1


@pytest.mark.parametrize(("runtime", "prefix"), [("sglang", "sglang:"), ("dynamo", "sglang:")])
async def test_requests_of_an_engine_that_holds_its_gauges_are_reported_as_held(runtime: str, prefix: str) -> None:
    clock, engines = FakeClock(), ScriptedEngines()
    engines.by_port[1] = f"{prefix}num_running_reqs 24\n{prefix}num_queue_reqs 0\n{prefix}num_used_tokens 7\n".encode()
    reader, record = ReplicaReader(engines, clock, POLICY), ReplicaRecord()
    for _ in range(12):
        await reader.read(ONE, runtime, record, delay_seconds=0.0)
        clock.advance(1.0)
    assert record.held
    engines.by_port[1] = engines.by_port[1].replace(b" 7", b" 8")  # type: ignore[union-attr]
    await reader.read(ONE, runtime, record, delay_seconds=0.0)
    assert not record.held


async def test_what_a_page_looks_like_and_lacks_is_in_the_report() -> None:
    running = Running()
    async with running(ONE, TWO):
        report = await eventually(lambda: running.reports.last(ONE), what="a report")
    assert report is not None
    assert ("llama.cpp of May 2025 or newer", "KV cache use") == (report.version, report.missing[1])


async def test_replicas_that_rest_are_read_at_each_tick_and_reported_every_two_seconds_until_one_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(idle, "REST_AFTER_SECONDS", 0.05)
    async with Running()(ONE, TWO) as running:
        engines, reports = running.engines, running.reports

        async def read(times: int) -> int:
            """Return how many reports there were while the first replica was read so often."""
            queried, before = engines.queried.count(1), len(reports.all)
            await eventually(lambda: engines.queried.count(1) >= queried + times)
            return len(reports.all) - before

        async def rested() -> bool:
            return await read(10) == 0

        await eventually(rested, what="the replicas rest")
        engines.by_port[2] = BUSY
        await eventually(lambda: _running(reports.last(TWO)) == 3, what="the work is reported", within_seconds=0.5)
        assert await read(10) >= 9


def _running(report: ReplicaReport | None) -> float | None:
    return report.reading.snapshot.running_requests if report is not None and report.reading is not None else None


async def test_an_application_of_another_member_is_not_read_until_that_member_is_gone() -> None:
    running = Running()
    other = next(name for name in map(str, range(100)) if owner(KEY, [name, "a"]) == name)
    running.members.take(Member(other, ready=True), 0.0)
    async with running(ONE):
        await asyncio.sleep(0.05)
        assert [] == running.engines.queried
        running.members.take(Member(other, leaving=True), 0.0)
        running.collector.divide()
        await running.reported(ONE, "")
        running.members.take(Member(other, ready=True), 0.0)
        running.collector.divide()
        assert [] == list(running.collector.watches())


async def test_a_new_member_reports_once_it_has_taken_over() -> None:
    running = Running(members=Members("a"))
    other = next(name for name in map(str, range(100)) if owner(KEY, [name, "a"]) == "a")
    running.members.take(Member(other, ready=True), 0.0)
    running.members.arrive()
    async with running(ONE):
        await eventually(lambda: running.engines.queried.count(1) >= 3)
        assert [] == running.reports.all
        running.members.take_over()
        running.collector.divide()
        await running.reported(ONE, "")
