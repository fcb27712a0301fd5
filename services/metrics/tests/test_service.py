"""Rounds of questions and reports, with engines that do what the test says."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest

from arks.kit.clock import SystemClock
from arks.kit.errors import Unavailable
from arks.kit.reconcile import Key
from arks.kit.testing.wait import eventually
from arks.metrics.config import Settings
from arks.metrics.domain import rest
from arks.metrics.domain.readings import Application, Replica, Said
from arks.metrics.service import Collector

KEY = Key("default", "app")
ONE, TWO = Replica("app-0", "127.0.0.1", 1), Replica("app-1", "127.0.0.1", 2)
IDLE, BUSY = b"llamacpp:requests_processing 0\n", b"llamacpp:requests_processing 3\n"
SETTINGS = Settings(load_tick_seconds=0.01, load_late_seconds=0.05)


class ScriptedEngines:
    """A page, an error, or an event to wait for, by port."""

    def __init__(self) -> None:
        self.by_port: dict[int, bytes | Exception | asyncio.Event] = {1: IDLE, 2: IDLE}
        self.asked: list[int] = []
        self.under_way = 0
        self.most_under_way = 0

    async def page(self, host: str, port: int) -> bytes:
        self.asked.append(port)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
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
            self.under_way -= 1


class KeptReports:
    def __init__(self) -> None:
        self.all: list[tuple[Key, dict[Replica, Said]]] = []

    async def publish(self, key: Key, said: Mapping[Replica, Said]) -> None:
        self.all.append((key, dict(said)))

    def last(self, replica: Replica) -> Said | None:
        return self.all[-1][1].get(replica) if self.all else None


class Running:
    def __init__(self, settings: Settings = SETTINGS) -> None:
        self.engines = ScriptedEngines()
        self.reports = KeptReports()
        self.collector = Collector(self.engines, self.reports, SystemClock(), settings)

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
        said = self.reports.last(replica)
        return said.reading.snapshot.running_requests if said and said.reading else None

    async def said(self, replica: Replica, problem: str) -> Said:
        """Waits until a report says this of it: the beginning of its problem, or nothing."""

        def found() -> Said | None:
            said = self.reports.last(replica)
            fits = said is not None and (said.problem.startswith(problem) if problem else not said.problem)
            return said if fits else None

        said = await eventually(found, what=f"{problem!r} of {replica.name}")
        assert said is not None
        return said


async def test_each_report_holds_every_replica_of_the_application() -> None:
    async with Running()(ONE, TWO) as running:
        await running.said(TWO, "")
        assert (KEY, {ONE, TWO}) == (running.reports.all[-1][0], set(running.reports.all[-1][1]))


async def test_the_first_report_already_has_readings() -> None:
    unhurried = Settings(load_tick_seconds=0.25)
    async with Running(unhurried)(ONE) as running:
        await eventually(lambda: running.reports.all)
        assert "" == running.reports.all[0][1][ONE].problem


async def test_what_the_engine_says_is_in_the_next_report() -> None:
    async with Running()(ONE) as running:
        await running.said(ONE, "")
        running.engines.by_port[1] = BUSY
        await eventually(lambda: running.running_requests(ONE) == 3.0)


async def test_one_that_fails_is_a_problem_and_the_other_is_read_on() -> None:
    async with Running()(ONE, TWO) as running:
        running.engines.by_port[1] = Unavailable("connection refused")
        await running.said(ONE, "connection refused (for ")
        asked = running.engines.asked.count(2)
        await eventually(lambda: running.engines.asked.count(2) > asked + 3)
        await running.said(TWO, "")


async def test_an_error_nobody_expected_is_a_problem_of_that_replica_alone() -> None:
    async with Running()(ONE, TWO) as running:
        running.engines.by_port[1] = ZeroDivisionError("odd page")
        await running.said(ONE, "could not be read: ZeroDivisionError")
        await running.said(TWO, "")


async def test_one_that_hangs_is_overdue_then_read_again_when_it_answers() -> None:
    async with Running()(ONE, TWO) as running:
        running.engines.by_port[1] = answer = asyncio.Event()
        await running.said(ONE, "no answer for ")
        reports = len(running.reports.all)
        await eventually(lambda: len(running.reports.all) > reports + 3)
        assert 1 == running.engines.asked.count(1)
        answer.set()
        said = await running.said(ONE, "")
        assert said.reading is not None
        assert 3.0 == said.reading.snapshot.running_requests


async def test_a_page_that_is_not_understood_is_a_problem() -> None:
    async with Running()(ONE) as running:
        running.engines.by_port[1] = b"<html>"
        await running.said(ONE, "the page (6 bytes) has no metric known of llamacpp")


async def test_a_runtime_without_known_metrics_is_a_problem() -> None:
    async with Running()(ONE, runtime="tgi") as running:
        await running.said(ONE, "no metrics are known of runtime 'tgi'")
        assert [] == running.engines.asked


async def test_a_lone_idle_replica_is_read_seldom_until_it_works_or_is_alone_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rest, "REST_AFTER_SECONDS", 0.05)
    monkeypatch.setattr(rest, "REST_SECONDS", 1.0)
    async with Running()(ONE) as running:
        await running.said(ONE, "")
        await asyncio.sleep(0.2)
        running.engines.asked.clear()
        await asyncio.sleep(0.3)
        assert len(running.engines.asked) <= 1
        running.engines.by_port[1] = BUSY
        await eventually(lambda: running.running_requests(ONE) == 3)
        running.engines.asked.clear()
        await eventually(lambda: len(running.engines.asked) >= 5, within_seconds=4)
        running.engines.by_port[1] = IDLE
        await asyncio.sleep(0.2)
        running.collector.change(KEY, Application("llamacpp", (ONE, TWO)))
        running.engines.asked.clear()
        await eventually(lambda: running.engines.asked.count(1) >= 5, within_seconds=4)


async def test_a_replica_that_is_gone_is_reported_no_more_and_a_new_one_is() -> None:
    async with Running()(ONE) as running:
        await running.said(ONE, "")
        running.collector.change(KEY, Application("llamacpp", (TWO,)))
        await running.said(TWO, "")
        assert {TWO} == set(running.reports.all[-1][1])


async def test_an_application_that_is_gone_is_reported_no_more_and_its_questions_end() -> None:
    async with Running()(ONE) as running:
        running.engines.by_port[1] = asyncio.Event()
        await eventually(lambda: running.engines.under_way)
        running.collector.change(KEY, None)
        await eventually(lambda: not running.engines.under_way)
        await eventually(lambda: f"load of {KEY}" not in {task.get_name() for task in asyncio.all_tasks()})


async def test_a_replica_that_started_again_is_known_anew() -> None:
    async with Running()(ONE) as running:
        await running.said(ONE, "")
        again = Replica(ONE.name, ONE.host, ONE.port, restarts=1)
        running.engines.by_port[1] = Unavailable("connection refused")
        running.collector.change(KEY, Application("llamacpp", (again,)))
        said = await running.said(again, "connection refused")
        assert said.reading is None


async def test_no_more_questions_are_under_way_than_allowed() -> None:
    replicas = [Replica(f"app-{index}", "127.0.0.1", 100 + index) for index in range(20)]
    running = Running(SETTINGS.model_copy(update={"load_concurrent_reads": 4}))
    for replica in replicas:
        running.engines.by_port[replica.port] = asyncio.Event()
    async with running(*replicas):
        await eventually(lambda: len(running.reports.all) > 5)
        assert 4 == running.engines.most_under_way


async def test_replicas_that_hang_do_not_take_the_places_of_those_that_answer() -> None:
    limits = {"load_concurrent_reads": 2, "load_concurrent_silent_reads": 1}
    running = Running(SETTINGS.model_copy(update=limits))
    hanging = [Replica(f"app-{index}", "127.0.0.1", 100 + index) for index in range(8)]
    for replica in hanging:
        running.engines.by_port[replica.port] = Unavailable("no answer within 5 s")
    async with running(ONE, *hanging):
        for replica in hanging:
            await running.said(replica, "no answer within")
            running.engines.by_port[replica.port] = asyncio.Event()
        asked = running.engines.asked.count(1)
        await eventually(lambda: running.engines.asked.count(1) > asked + 5)


@pytest.mark.parametrize("applications", [30])
async def test_applications_do_not_have_their_turn_at_the_same_time(applications: int) -> None:
    running = Running(SETTINGS.model_copy(update={"load_tick_seconds": 0.2}))
    loop = asyncio.get_running_loop()
    turns: dict[Key, float] = {}
    publish = running.reports.publish

    async def note(key: Key, said: Mapping[Replica, Said]) -> None:
        turns.setdefault(key, loop.time())
        await publish(key, said)

    running.reports.publish = note  # type: ignore[method-assign]
    for index in range(applications):
        running.collector.change(Key("default", f"app-{index}"), Application("llamacpp", (ONE,)))
    async with running(ONE):
        await eventually(lambda: len(turns) == applications + 1)
    assert max(turns.values()) - min(turns.values()) > 0.1
