import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from aiohttp import web

from arks.app_deployer.adapters.probe import HttpProbe
from arks.app_deployer.testing.engine_server import TOOLS_TEMPLATE, engine_server
from arks.kit.errors import Unavailable
from arks.kit.ports import free_port
from arks.kit.testing.wait import eventually


class Engine:
    """Answers on loopback as the test sets it."""

    def __init__(self) -> None:
        self.port = 0
        self.health, self.completion, self.embedding = 200, 200, 200
        self.metrics = ""
        self.props: tuple[int, str] = (404, "")
        self.chat: tuple[int, str] = (200, "")
        """Status and body."""
        self.requested_paths: list[str] = []

    async def handle(self, request: web.Request) -> web.Response:
        self.requested_paths.append(request.path)
        if request.path == "/metrics":
            return web.Response(text=self.metrics)
        own = {"/props": self.props, "/v1/chat/completions": self.chat}
        if request.path in own:
            answered, text = own[request.path]
            return web.Response(status=answered, text=text)
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
    probe = HttpProbe(health_seconds=30.0, answer_seconds=60.0)
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


async def test_a_closed_probe_sends_nothing(engine: Engine, probe: HttpProbe) -> None:
    await probe.close()
    with pytest.raises(RuntimeError, match="closed"):
        await probe.healthy(engine.port)
    assert [] == engine.requested_paths


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


def props(**caps: object) -> tuple[int, str]:
    return 200, json.dumps({"total_slots": 2, "chat_template_caps": caps})


def chat(**message: object) -> tuple[int, str]:
    return 200, json.dumps({"choices": [{"message": {"role": "assistant", **message}}]})


@pytest.mark.parametrize(
    ("props", "chat", "unsupported"),
    [
        (props(supports_tools=False), chat(), {"tools"}),
        (props(supports_tools=True), chat(content="a"), {"tool_choice.required"}),
        (props(supports_tools=True), chat(content=" a"), {"tool_choice.required"}),
        (props(supports_tools=True), chat(reasoning_content="a", content=""), {"tool_choice.required"}),
        (props(supports_tools=True), chat(content="<tool"), set()),
        (props(supports_tools=True), chat(content=None), set()),
        (props(supports_tools=True), (400, "Failed to initialize samplers"), set()),
        (props(supports_tools=True), (200, "what"), set()),
        (props(), chat(content="a"), set()),
        ((200, "[]"), chat(content="a"), set()),
        ((200, '{"chat_template_caps": 1}'), chat(content="a"), set()),
        ((404, "Not Found"), chat(content="a"), set()),
    ],
)
async def test_what_an_engine_drops_for_its_template(
    engine: Engine, probe: HttpProbe, props: tuple[int, str], chat: tuple[int, str], unsupported: set[str]
) -> None:
    engine.props, engine.chat = props, chat
    assert unsupported == await probe.unsupported(engine.port, "m")


async def test_of_an_engine_that_does_not_answer_nothing_is_known(engine: Engine, probe: HttpProbe) -> None:
    engine.props = 503, ""
    for port in (engine.port, free_port()):
        with pytest.raises(Unavailable):
            await probe.unsupported(port, "m")


FORCED = TOOLS_TEMPLATE.replace("'<|im_start|>assistant\\n'", "'<|start|>assistant'") + "{# <|channel|> #}"
"""A template of gpt-oss for llama.cpp, whose grammar begins with a header."""
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
REQUEST = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 8, "temperature": 0}


@pytest.mark.real
@pytest.mark.parametrize(
    ("template", "unsupported"),
    [("", {"tools"}), (TOOLS_TEMPLATE, {"tool_choice.required"}), (FORCED, set())],
    ids=["no tools", "any text before a call", "no text before a call"],
)
async def test_what_the_shipped_llama_cpp_drops_is_read_from_it(
    template: str, unsupported: set[str], probe: HttpProbe, tmp_path: Path
) -> None:
    (tmp_path / "template.jinja").write_text(template)
    arguments = ("--chat-template-file", str(tmp_path / "template.jinja")) if template else ()
    async with (
        engine_server(tmp_path, arguments=arguments) as server,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", timeout=60) as engine,
    ):
        await eventually(lambda: probe.healthy(server.port), what="the model", within_seconds=60)
        assert unsupported == await probe.unsupported(server.port, "smollm2")

        async def chat(**fields: object) -> tuple[str, int]:
            answer = (await engine.post("/v1/chat/completions", json=REQUEST | fields)).json()
            return answer["choices"][0]["message"]["content"], answer["usage"]["prompt_tokens"]

        text, tokens = await chat(tools=[TOOL], tool_choice="required")
        if "tools" in unsupported:
            assert tokens == (await chat())[1]
        else:
            assert ("tool_choice.required" not in unsupported) == text.startswith("<|channel|>")
