"""The proxy as people start it (start.sh, uvicorn) before a gRPC server without a model.

ARKS_EXAMPLES sets how many inputs schemathesis makes for each route (nightly: 2,000).
"""

import asyncio
import json
import os
import re
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest
import pytest_asyncio

from arks.kit.ports import free_port
from arks.kit.testing.servers import Server, serve
from arks.kit.testing.wait import eventually
from arks.openai_proxy.testing.mock_engine import MODEL, MockEngine, serving

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]
EXAMPLES = int(os.environ.get("ARKS_EXAMPLES", "20"))
CHAT = "/v1/chat/completions"
HELLO: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}]}
START = str(Path(__file__).parents[1] / "start.sh")
FAULTS = [
    ("full", 429, "engine_overloaded"),
    ("absent", 404, "model_not_found"),
    ("long", 400, "context_length_exceeded"),
    ("unsupported", 400, "no_logprobs"),
    ("garbage", 502, "engine_error"),
]
"""Model of the mock engine, and the answer to its clients."""


@dataclass
class Proxy:
    engine: MockEngine
    server: Server

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, timeout=30, limits=httpx.Limits(max_connections=None))

    async def in_flight(self) -> float:
        async with self.client() as http:
            page = (await http.get("/metrics")).text
        found = re.search(r"^arks_openai_proxy_in_flight_requests (\S+)$", page, re.MULTILINE)
        assert found
        return float(found[1])

    def open_files(self) -> int:
        return len(list(Path(f"/proc/{self.server.process.pid}/fd").iterdir()))


@asynccontextmanager
async def started(directory: Path, engine_port: int, *, timeout_seconds: float = 30.0) -> AsyncIterator[Server]:
    """The proxy of an engine that may not run."""
    port = free_port()
    environment = {
        "HTTP_FORWARD_GRPC_HOST": "127.0.0.1",
        "HTTP_FORWARD_GRPC_PORT": str(engine_port),
        "ARKS_REQUEST_TIMEOUT_SECONDS": str(timeout_seconds),
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    variables = [f"{name}={value}" for name, value in environment.items()]
    async with serve(["env", *variables, START], port, directory) as server:
        yield server


@asynccontextmanager
async def served(directory: Path, *, timeout_seconds: float = 30.0) -> AsyncIterator[Proxy]:
    engine = MockEngine()
    async with (
        serving(engine) as engine_port,
        started(directory, engine_port, timeout_seconds=timeout_seconds) as server,
    ):
        yield Proxy(engine, server)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def proxy(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Proxy]:
    async with served(tmp_path_factory.mktemp("proxy")) as proxy:
        yield proxy


async def error_of(http: httpx.AsyncClient, model: str, *, stream: bool) -> tuple[int, str]:
    answer = await http.post(CHAT, json=HELLO | {"model": model, "stream": stream})
    return answer.status_code, answer.json()["error"]["code"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("model", "status", "code"), FAULTS)
async def test_an_engine_that_refuses_or_fails_is_the_right_error(
    model: str, status: int, code: str, stream: bool, proxy: Proxy
) -> None:
    async with proxy.client() as http:
        assert (status, code) == await error_of(http, model, stream=stream)


@pytest.mark.parametrize(
    ("content", "param"),
    [
        (b'{"model": "mock", "messages": []}', "messages"),
        (b'{"model": "mock", "messages": "hi"}', "messages"),
        (b'{"model": 5, "messages": [{"role": "user", "content": "hi"}]}', "model"),
        (b'{"model": "mock", "messages": [{"role": "user", "content": "\xff\xfe"}]}', None),
        (b'{"model": "mock", "messages": [', None),
    ],
)
async def test_a_body_that_is_no_request_never_reaches_the_engine(
    content: bytes, param: str | None, proxy: Proxy
) -> None:
    calls = proxy.engine.calls
    async with proxy.client() as http:
        answer = await http.post(CHAT, content=content, headers={"content-type": "application/json"})
    assert (400, param) == (answer.status_code, answer.json()["error"]["param"])
    assert calls == proxy.engine.calls


async def test_garbage_after_the_first_event_ends_the_stream_with_an_error(proxy: Proxy) -> None:
    async with proxy.client() as http:
        answer = await http.post(CHAT, json=HELLO | {"model": "breaks", "stream": True})
    first, last = answer.text.strip().split("\n\n")
    assert "word " == json.loads(first.removeprefix("data: "))["choices"][0]["delta"]["content"]
    assert "engine_error" == json.loads(last.removeprefix("data: "))["error"]["code"]


async def test_an_engine_that_is_too_slow_is_a_timeout(tmp_path: Path) -> None:
    async with served(tmp_path, timeout_seconds=0.5) as proxy, proxy.client() as http:
        found = await asyncio.gather(*(error_of(http, "silent", stream=stream) for stream in (False, True)))
        assert [(504, "timeout")] * 2 == found
        midway = (await http.post(CHAT, json=HELLO | {"model": "slow", "stream": True})).text.strip().split("\n\n")
        assert "timeout" == json.loads(midway[-1].removeprefix("data: "))["error"]["code"]
        assert 0 == await proxy.in_flight()


async def test_an_engine_that_goes_ends_its_streams_and_is_called_again_once_it_is_back(tmp_path: Path) -> None:
    port, engine = free_port(), MockEngine()
    async with started(tmp_path, port) as server, Proxy(engine, server).client() as http:
        async with serving(engine, port):
            open_stream = asyncio.ensure_future(http.post(CHAT, json=HELLO | {"model": "slow", "stream": True}))
            await eventually(lambda: engine.running, what="the stream began")
        last = (await open_stream).text.strip().split("\n\n")[-1]
        assert json.loads(last.removeprefix("data: "))["error"]["code"] in {
            "generation_cancelled",
            "engine_unavailable",
        }
        for stream in (False, True):
            assert (503, "engine_unavailable") == await error_of(http, MODEL, stream=stream)
        async with serving(engine, port):

            async def answers() -> bool:
                return (await http.post(CHAT, json=HELLO | {"model": MODEL})).status_code == 200

            await eventually(answers, what="an answer", every_seconds=0.1)


async def test_faults_keep_no_file_open_and_no_slot_taken(proxy: Proxy) -> None:
    async def faults() -> None:
        async with proxy.client() as http:
            await asyncio.gather(
                *(
                    error_of(http, model, stream=stream)
                    for model, _, _ in FAULTS
                    for stream in (False, True)
                    for _ in range(10)
                )
            )

    await faults()  # opens all connections to the engine
    before = proxy.open_files()
    await faults()
    await eventually(lambda: proxy.open_files() <= before, what="the proxy has no more files open than before")
    assert (0, 0) == (proxy.engine.running, await proxy.in_flight())


async def test_a_client_that_disconnects_frees_its_slot_within_100_ms(proxy: Proxy) -> None:
    seconds = []
    async with proxy.client() as http:
        for _ in range(5):
            async with http.stream("POST", CHAT, json=HELLO | {"model": "slow", "stream": True}) as answer:
                lines = answer.aiter_lines()  # httpx ends the request when this is collected
                await anext(lines)
                assert 1 == proxy.engine.running
            began = time.monotonic()
            await eventually(lambda: proxy.engine.running == 0, what="the slot is free", every_seconds=0.002)
            seconds.append(time.monotonic() - began)
    assert statistics.median(seconds) <= 0.1, seconds


async def test_500_streams_at_once_come_whole(proxy: Proxy) -> None:
    gate = proxy.engine.gate = asyncio.Event()
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(proxy.url, connector=connector) as http:

        async def stream() -> str:
            async with http.post(CHAT, json=HELLO | {"model": MODEL, "stream": True}) as answer:
                return await answer.text()

        work = asyncio.gather(*(stream() for _ in range(500)))
        await eventually(lambda: proxy.engine.running == 500, what="all streams run")
        gate.set()
        answers = await work
    assert {(proxy.engine.tokens, True)} == {
        (answer.count('"word "'), answer.endswith("data: [DONE]\n\n")) for answer in answers
    }


async def test_schemathesis_finds_nothing(proxy: Proxy, tmp_path: Path) -> None:
    """The OpenAPI page is true: what it allows is answered, what it forbids is refused, each answer is described."""
    repeats = ["--generation-deterministic"] if "ARKS_EXAMPLES" not in os.environ else []
    command = [str(Path(sys.executable).parent / "schemathesis"), "run", f"{proxy.url}/openapi.json", "--no-color"]
    finding = await asyncio.create_subprocess_exec(
        *command,
        *("--max-examples", str(EXAMPLES), "--phases", "coverage,fuzzing", *repeats),
        cwd=tmp_path,
        env=os.environ | {"SCHEMATHESIS_HOOKS": "schemathesis_hooks", "PYTHONPATH": str(Path(__file__).parent)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await finding.communicate()
    assert 0 == finding.returncode, output.decode()
    assert (0, 0) == (proxy.engine.running, await proxy.in_flight())
