from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import web

from arks.app_deployer.adapters.probe import HttpProbe
from arks.kit.ports import free_port


class Engine:
    """Answers on loopback as the test sets it."""

    def __init__(self) -> None:
        self.port = 0
        self.health, self.completion, self.embedding = 200, 200, 200
        self.metrics = ""
        self.requested_paths: list[str] = []

    async def handle(self, request: web.Request) -> web.Response:
        self.requested_paths.append(request.path)
        if request.path == "/metrics":
            return web.Response(text=self.metrics)
        status = {"/health": self.health, "/v1/completions": self.completion, "/v1/embeddings": self.embedding}
        return web.Response(status=status[request.path], text="why")


@pytest_asyncio.fixture
async def engine() -> AsyncIterator[Engine]:
    engine = Engine()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", engine.handle)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    engine.port = runner.addresses[0][1]
    yield engine
    await runner.cleanup()


@pytest_asyncio.fixture
async def probe() -> AsyncIterator[HttpProbe]:
    probe = HttpProbe(health_seconds=1.0, answer_seconds=1.0)
    await probe.start()
    yield probe
    await probe.close()


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False), (500, False)])
async def test_an_engine_is_healthy_if_health_answers_200(
    engine: Engine, probe: HttpProbe, status: int, healthy: bool
) -> None:
    engine.health = status
    assert healthy is await probe.healthy(engine.port)


async def test_an_engine_that_does_not_listen_is_neither_healthy_nor_answering_nor_idle(probe: HttpProbe) -> None:
    port = free_port()
    assert not await probe.healthy(port)
    assert "its model does not answer" in (await probe.problem(port, "m") or "")
    assert await probe.busy(port) is None


async def test_a_model_that_answers_has_no_problem(engine: Engine, probe: HttpProbe) -> None:
    assert await probe.problem(engine.port, "m") is None
    assert ["/v1/completions"] == engine.requested_paths


async def test_a_model_for_embeddings_only_is_probed_with_an_embedding(engine: Engine, probe: HttpProbe) -> None:
    engine.completion = 501
    assert await probe.problem(engine.port, "m") is None
    engine.embedding = 500
    assert "its model answers with status 500: why" == await probe.problem(engine.port, "m")


async def test_a_model_that_fails_has_a_problem(engine: Engine, probe: HttpProbe) -> None:
    engine.completion = 500
    assert "its model answers with status 500: why" == await probe.problem(engine.port, "m")


@pytest.mark.parametrize(
    ("metrics", "busy"),
    [
        ("llamacpp:requests_processing 2\nllamacpp:requests_deferred 1\nllamacpp:n_decode_total 9\n", 3.0),
        ("llamacpp:requests_processing 0\nllamacpp:requests_deferred 0\n", 0.0),
        ('vllm:num_requests_running{engine="0"} 1.0\nvllm:num_requests_running{engine="1"} 2.0\n', 3.0),
        (
            'vllm:num_requests_waiting{engine="0"} 1.0\nvllm:num_requests_waiting_by_reason{reason="capacity"} 1.0\n',
            1.0,
        ),
        ('sglang:num_running_reqs{model_name="m"} 4.0\nsglang:num_queue_reqs{model_name="m"} 0.0\n', 4.0),
        ("something_else 1\n", None),
        ("llamacpp:requests_processing what\n", None),
    ],
)
async def test_how_busy_an_engine_is(engine: Engine, probe: HttpProbe, metrics: str, busy: float | None) -> None:
    engine.metrics = metrics
    assert busy == await probe.busy(engine.port)
