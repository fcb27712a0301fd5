"""The service as a whole: facts in, load on the bus, with real NATS, and with a real engine."""

import asyncio
import contextlib
import re
import statistics
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp import web

from arks.app_deployer.testing.engine_server import engine_server
from arks.events.v1.facts_pb2 import ReplicasFact, ReplicaState
from arks.events.v1.load_pb2 import ReplicaLoad
from arks.kit.key import Key
from arks.kit.testing.servers import Server
from arks.kit.testing.wait import eventually

if TYPE_CHECKING:
    from services.metrics.tests.conftest import ScriptedEngine, Service

pytestmark = pytest.mark.real

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
HUGE = 9 * 1024 * 1024


def page(running: float = 0, waiting: float = 0, tokens: float = 0, finished: float = 0) -> bytes:
    return (
        f"vllm:num_requests_running {running}\nvllm:num_requests_waiting {waiting}\n"
        f"vllm:prompt_tokens_total {tokens}\nvllm:generation_tokens_total {tokens}\n"
        f"vllm:request_success_total {finished}\n"
    ).encode()


async def test_a_ready_replica_is_reported_at_least_four_times_a_second(
    service: "Service", engine: "ScriptedEngine"
) -> None:
    engine.page = page(running=2, waiting=1)
    service.set_replicas(engine.port)
    load = await service.load(lambda load: not load.problem)
    assert (2.0, 1.0, False) == (
        load.running_requests,
        load.waiting_requests,
        load.HasField("kv_cache_usage_ratio"),
    )
    first = len(service.reports)
    await eventually(lambda: len(service.reports) >= first + 21)
    times = [at for at, _ in service.reports[first : first + 21]]
    assert statistics.median(later - earlier for earlier, later in pairwise(times)) <= 0.25
    measured = {report.replicas[0].measured_at.ToNanoseconds() for _, report in service.reports[first : first + 21]}
    assert 21 == len(measured)
    assert 1 == len(engine.connections)


async def test_reports_are_of_all_replicas_and_no_older_than_a_tick(
    service: "Service", engines: "list[ScriptedEngine]"
) -> None:
    service.set_replicas(*(engine.port for engine in engines))
    for name in ("app-0", "app-1", "app-2"):
        await service.load(lambda load: not load.problem, name)
    first = len(service.reports)
    await eventually(lambda: len(service.reports) >= first + 11, what="eleven reports")
    reports = [report for _, report in service.reports[first:]]
    assert [["app-0", "app-1", "app-2"]] * len(reports) == [
        [load.name for load in report.replicas] for report in reports
    ]
    ages = [
        max(
            (report.measured_at.ToDatetime() - load.measured_at.ToDatetime()).total_seconds()
            for load in report.replicas
        )
        for report in reports
    ]
    assert statistics.median(ages) <= 0.2


async def test_a_dead_engine_is_a_problem_at_once_and_the_others_are_read_on(
    service: "Service", engines: "list[ScriptedEngine]"
) -> None:
    service.set_replicas(*(engine.port for engine in engines))
    await service.load(lambda load: not load.problem)
    await engines[0].stop()
    load = await service.load(lambda load: bool(load.problem), within_seconds=5)
    assert not load.HasField("running_requests")
    assert load.measured_at.seconds > 0
    await service.load(lambda load: load.problem.startswith("connection refused (for "))
    assert not (await service.load(lambda load: True, "app-1")).problem


async def test_an_engine_that_hangs_is_a_problem_before_it_is_given_up(
    service: "Service", engine: "ScriptedEngine"
) -> None:
    service.set_replicas(engine.port)
    await service.load(lambda load: not load.problem)
    hang = asyncio.Event()

    async def answer(_: web.Request) -> web.Response:
        await hang.wait()
        return web.Response(body=page())

    engine.answer = answer
    load = await service.load(lambda load: bool(load.problem))
    assert re.match(r"no answer for [01]\.", load.problem)
    await service.load(lambda load: load.problem.startswith("no answer within 2 s (for "))
    engine.answer = None
    hang.set()
    await service.load(lambda load: not load.problem)


async def test_an_engine_that_comes_back_is_read_again_and_its_counters_start_anew(
    service: "Service", engine: "ScriptedEngine"
) -> None:
    engine.page = page(running=1, tokens=100_000, finished=500)
    service.set_replicas(engine.port)
    await service.load(lambda load: load.HasField("generation_tokens_per_second"))
    await engine.stop()
    await service.load(lambda load: bool(load.problem))
    engine.page = page(running=1, tokens=40, finished=2)
    await engine.start()
    load = await service.load(lambda load: not load.problem)
    assert not load.HasField("generation_tokens_per_second")
    assert not load.HasField("drain_rate_per_second")
    load = await service.load(lambda load: load.HasField("generation_tokens_per_second"))
    assert (0.0, 0.0) == (load.generation_tokens_per_second, load.drain_rate_per_second)


async def test_speeds_are_those_of_the_engine(service: "Service", engine: "ScriptedEngine") -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()

    async def answer(_: web.Request) -> web.Response:
        seconds = loop.time() - began
        return web.Response(body=page(running=1, tokens=1000 * seconds, finished=5 * seconds))

    engine.answer = answer
    service.set_replicas(engine.port)
    await service.load(lambda load: load.HasField("drain_rate_per_second"))

    def right(load: ReplicaLoad) -> bool:
        """Over longer times a late look matters less and less."""
        speeds = (load.generation_tokens_per_second, load.prompt_tokens_per_second, load.drain_rate_per_second)
        return speeds == pytest.approx((1000, 1000, 5), rel=0.15)

    await service.load(right)


async def _status(request: web.Request, status: int) -> web.Response:
    return web.Response(status=status, text="no")


async def _huge(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    with contextlib.suppress(ConnectionError):
        for _ in range(HUGE // 65536):
            await response.write(b"# filler\n".ljust(65536, b"x"))
    return response


async def _announced_huge(request: web.Request) -> web.Response:
    return web.Response(body=b"x" * HUGE)


async def _cut_off(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(page())
    assert request.transport is not None
    request.transport.abort()
    return response


async def _redirect(request: web.Request) -> web.Response:
    return web.Response(status=307, headers={"Location": "http://127.0.0.1:1/metrics"})


async def _html(request: web.Request) -> web.Response:
    return web.Response(text="<html>hello</html>", content_type="text/html")


async def _bytes(request: web.Request) -> web.Response:
    return web.Response(body=bytes(range(256)) * 40)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (lambda request: _status(request, 404), "/metrics answers 404: it has no metrics page"),
        (lambda request: _status(request, 503), "/metrics answers 503: it is loading or shutting down"),
        (lambda request: _status(request, 500), "/metrics answers 500 ("),
        (_redirect, "/metrics answers 307 ("),
        (_huge, "its page has more than 8388608 bytes"),
        (_announced_huge, f"its page has {HUGE} bytes, more than 8388608"),
        (_cut_off, "no page: "),
        (_html, "the page (18 bytes) has no metric known of vllm"),
        (_bytes, "the page (10240 bytes) has no metric known of vllm"),
    ],
    ids=["404", "503", "500", "redirect", "endless", "huge", "cut-off", "html", "noise"],
)
async def test_an_odd_answer_is_a_problem_in_words_and_never_idle(
    service: "Service", engine: "ScriptedEngine", answer: Answer, problem: str
) -> None:
    engine.answer = answer
    service.set_replicas(engine.port)
    load = await service.load(lambda load: load.problem.startswith(problem))
    assert not load.HasField("running_requests")
    assert len(load.problem) < 300
    engine.answer = None
    await service.load(lambda load: not load.problem)


async def test_a_host_that_is_no_host_is_a_problem(service: "Service", engine: "ScriptedEngine") -> None:
    service.set_replicas(engine.port)
    await service.load(lambda load: not load.problem)
    fact = ReplicasFact(namespace="default", application="app", runtime="vllm")
    fact.replicas.add(name="app-0", host="no such host", port=80, state=ReplicaState.REPLICA_STATE_READY)
    service.facts.put(Key("default", "app"), fact)
    await service.load(lambda load: bool(load.problem))


async def test_reports_go_on_after_nats_was_away(service: "Service", engine: "ScriptedEngine", nats: Server) -> None:
    service.set_replicas(engine.port)
    await service.load(lambda load: not load.problem)
    await nats.kill()
    await nats.restart()
    await service.load(lambda load: not load.problem)


async def test_our_own_page_has_the_same_gauges_for_every_replica_and_forgets_those_that_are_gone(
    service: "Service", engines: "list[ScriptedEngine]"
) -> None:
    engines[0].page = page(running=3, waiting=2)
    service.set_replicas(engines[0].port, engines[1].port)
    await service.load(lambda load: load.running_requests == 3)
    await service.load(lambda load: not load.problem, "app-1")
    text = await _own_page(service.port)
    labels = 'application="app",namespace="default",replica="app-0"'
    assert f"arks_replica_running_requests{{{labels}}} 3.0" in text
    assert "arks_metrics_read_seconds_count" in text
    service.set_replicas(engines[0].port)

    async def forgotten() -> bool:
        return 'replica="app-1"' not in await _own_page(service.port)

    await eventually(forgotten, what="one replica on the page")


async def _own_page(port: int) -> str:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as response:
        return await response.text()


async def _complete(session: aiohttp.ClientSession, port: int) -> None:
    body = {"model": "smollm2", "prompt": "Count: one, two, three,", "max_tokens": 200, "ignore_eos": True}
    async with session.post(f"http://127.0.0.1:{port}/v1/completions", json=body) as response:
        assert 200 == response.status
        await response.read()


@pytest.mark.timeout(600)
async def test_a_real_engine_under_load_shows_its_running_and_waiting_requests_and_its_speed(
    service: "Service", tmp_path: Path
) -> None:
    async with engine_server(tmp_path / "engine", slots=2) as engine, aiohttp.ClientSession() as session:
        service.set_replicas(engine.port, runtime="llamacpp", slots=2)
        idle = await service.load(lambda load: not load.problem, within_seconds=120)
        assert (0.0, 0.0, 2) == (idle.running_requests, idle.waiting_requests, idle.slots)
        assert not idle.HasField("kv_cache_usage_ratio")
        work = [asyncio.create_task(_complete(session, engine.port)) for _ in range(5)]
        busy = await service.load(lambda load: load.waiting_requests > 0, within_seconds=120)
        assert 2.0 == busy.running_requests
        assert not busy.HasField("kv_cache_usage_ratio")
        await service.load(lambda load: load.generation_tokens_per_second > 0, within_seconds=240)
        await asyncio.gather(*work)
        again = await service.load(lambda load: load.HasField("running_requests") and load.running_requests == 0)
        assert (0.0, False) == (again.waiting_requests, again.HasField("kv_cache_usage_ratio"))
        await engine.kill()
        load = await service.load(lambda load: bool(load.problem), within_seconds=5)
        assert not load.HasField("running_requests")
