"""The API over a scripted engine: no network."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import httpx2
import openai
import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry

from arks.kit.testing.wait import eventually
from arks.openai_proxy.adapters.metrics import ProxyMetrics
from arks.openai_proxy.api.app import build
from arks.openai_proxy.service.completions import Completions
from arks.openai_proxy.service.ports import EngineFailed
from arks.openai_proxy.testing.fake_engine import MODEL, FakeEngine

HELLO: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}
CHAT = "/v1/chat/completions"


async def _nothing() -> None:
    pass


async def _no_pause(_: float) -> None:
    pass


class Proxy:
    def __init__(self) -> None:
        self.engine = FakeEngine()
        completions = Completions(self.engine, sleep=_no_pause)
        metrics = ProxyMetrics(CollectorRegistry())
        self.app = build(completions, self.engine, metrics, start=_nothing, stop=_nothing, body_bytes_limit=10_000)
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app, raise_app_exceptions=False), base_url="http://proxy"
        )
        self.openai = openai.AsyncOpenAI(
            base_url="http://proxy/v1",
            api_key="unused",
            http_client=httpx2.AsyncClient(transport=httpx2.ASGITransport(self.app, raise_app_exceptions=False)),
            max_retries=0,
        )

    async def metric(self, name: str) -> float:
        lines = (await self.http.get("/metrics")).text.splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))


@pytest_asyncio.fixture
async def proxy() -> AsyncIterator[Proxy]:
    proxy = Proxy()
    yield proxy
    await proxy.openai.close()
    await proxy.http.aclose()


async def test_openais_client_gets_a_chat(proxy: Proxy) -> None:
    answer = await proxy.openai.chat.completions.create(**HELLO)
    assert ("Hello, world", "stop") == (answer.choices[0].message.content, answer.choices[0].finish_reason)
    assert answer.usage is not None
    assert 10 == answer.usage.total_tokens
    assert answer.id == proxy.engine.generations[0].id


async def test_openais_client_gets_a_stream_with_usage(proxy: Proxy) -> None:
    stream = await proxy.openai.chat.completions.create(**HELLO, stream=True, stream_options={"include_usage": True})
    chunks = [chunk async for chunk in stream]
    assert "Hello, world" == "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert chunks[-1].usage is not None
    assert 10 == chunks[-1].usage.total_tokens


async def test_a_stream_ends_with_done(proxy: Proxy) -> None:
    answer = await proxy.http.post(CHAT, json=HELLO | {"stream": True})
    assert "text/event-stream; charset=utf-8" == answer.headers["content-type"]
    assert "data: [DONE]" == answer.text.strip().split("\n\n")[-1]


async def test_openais_client_gets_a_text_whole_and_streamed(proxy: Proxy) -> None:
    answer = await proxy.openai.completions.create(model=MODEL, prompt="hi", n=2)
    assert ["Hello, world"] * 2 == [choice.text for choice in answer.choices]
    stream = await proxy.openai.completions.create(model=MODEL, prompt="hi", stream=True)
    assert "Hello, world" == "".join([chunk.choices[0].text async for chunk in stream])


async def test_openais_client_lists_models(proxy: Proxy) -> None:
    assert [MODEL] == [model.id async for model in proxy.openai.models.list()]
    assert MODEL == (await proxy.openai.models.retrieve(MODEL)).id
    with pytest.raises(openai.NotFoundError, match="`other` does not exist"):
        await proxy.openai.models.retrieve("other")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (HELLO | {"temperature": "hot"}, "temperature"),
        (HELLO | {"messages": []}, "messages"),
        (HELLO | {"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        (HELLO | {"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"model": MODEL}, "messages"),
        (HELLO | {"stop": 5}, "stop"),
        (HELLO | {"n": 0}, "n"),
    ],
)
async def test_an_invalid_field_is_named(body: dict[str, Any], param: str, proxy: Proxy) -> None:
    answer = await proxy.http.post(CHAT, json=body)
    error = answer.json()["error"]
    assert (400, "invalid_request_error", param) == (answer.status_code, error["type"], error["param"])
    assert error["message"].startswith(f"{param}: ")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"5",
        b'"x"',
        b"\xff\xfe",
        b'{"model": "\xff"}',
        b"[" * 5_000,
        b'{"model":"m","messages":[{"role":"user","content":"\\ud800"}]}',
        b'{"model":"m","messages":[{"role":"user","content":"x"}],"temperature":NaN}',
        b'{"model":"m","messages":[{"role":"user","content":"x"}],"tools":[{"type":"function","function":'
        b'{"name":"f","parameters":{"a":"\\ud800"}}}]}',
    ],
)
async def test_a_body_that_is_no_request_is_a_400_in_openais_form(content: bytes, proxy: Proxy) -> None:
    answer = await proxy.http.post(CHAT, content=content, headers={"content-type": "application/json"})
    assert 400 == answer.status_code
    assert {"message", "type", "param", "code"} == set(answer.json()["error"])
    assert [] == proxy.engine.generations


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("NOT_FOUND", openai.NotFoundError),
        ("OUT_OF_RANGE", openai.BadRequestError),
        ("RESOURCE_EXHAUSTED", openai.RateLimitError),
        ("UNAVAILABLE", openai.InternalServerError),
        ("DEADLINE_EXCEEDED", openai.InternalServerError),
        ("INTERNAL", openai.InternalServerError),
    ],
)
async def test_openais_client_raises_the_error_of_the_engine(
    status: str, expected: type[openai.APIStatusError], streams: bool, proxy: Proxy
) -> None:
    proxy.engine.failures = [EngineFailed(status, "no")] * 3
    with pytest.raises(expected):
        await proxy.openai.chat.completions.create(**HELLO, stream=streams)


async def test_an_engine_that_fails_midway_ends_the_stream_with_an_error(proxy: Proxy) -> None:
    proxy.engine.fail_after = 2
    answer = await proxy.http.post(CHAT, json=HELLO | {"stream": True})
    *_, last = answer.text.strip().split("\n\n")
    assert "engine_error" == json.loads(last.removeprefix("data: "))["error"]["code"]
    assert "own words" not in answer.text
    with pytest.raises(openai.APIError):
        [chunk async for chunk in await proxy.openai.chat.completions.create(**HELLO, stream=True)]


@pytest.mark.parametrize("streams", [True, False])
async def test_a_client_that_disconnects_ends_the_generation(streams: bool, proxy: Proxy) -> None:
    proxy.engine.hangs = True
    body = json.dumps(HELLO | {"stream": streams}).encode()
    gone = asyncio.Event()
    sent: list[Any] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> dict[str, Any]:
        if sent:
            return dict(sent.pop())
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(_: Any) -> None:
        pass

    headers = [(b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": CHAT, "headers": headers, "query_string": b"", "asgi": {}}
    serving = asyncio.ensure_future(proxy.app(scope, receive, send))
    await eventually(lambda: proxy.engine.generations, what="the generation began")
    gone.set()
    await serving
    assert 1 == proxy.engine.ended_early
    assert 1 == await proxy.metric("arks_openai_proxy_disconnects_total")
    assert 0 == await proxy.metric("arks_openai_proxy_in_flight_requests")


async def test_a_body_that_is_too_long_is_rejected_unread(proxy: Proxy) -> None:
    async def unknown_length() -> AsyncIterator[bytes]:
        for _ in range(11):
            yield b" " * 1_000

    for content in (b" " * 10_001, unknown_length()):
        answer = await proxy.http.post(CHAT, content=content, headers={"content-type": "application/json"})
        assert (413, "request_too_large") == (answer.status_code, answer.json()["error"]["code"])


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/v2", 404), ("GET", CHAT, 405)])
async def test_an_unknown_url_is_an_error_in_openais_form(method: str, path: str, status: int, proxy: Proxy) -> None:
    answer = await proxy.http.request(method, path)
    assert (status, "invalid_request_error") == (answer.status_code, answer.json()["error"]["type"])


async def test_a_method_that_a_path_does_not_take_is_answered_with_those_it_takes(proxy: Proxy) -> None:
    assert "POST" == (await proxy.http.get(CHAT)).headers["allow"]


async def test_health_is_that_of_the_engine_and_healthz_that_of_the_proxy(proxy: Proxy) -> None:
    assert (200, "ready") == ((answer := await proxy.http.get("/health")).status_code, answer.json()["status"])
    proxy.engine.failures = [EngineFailed("UNAVAILABLE", "")]
    assert (503, "away") == ((answer := await proxy.http.get("/health")).status_code, answer.json()["status"])
    assert 200 == (await proxy.http.get("/healthz")).status_code


async def test_the_page_of_metrics_has_requests_and_the_engines_load(proxy: Proxy) -> None:
    await proxy.http.post(CHAT, json=HELLO)
    await proxy.http.post(CHAT, json={})
    assert 2 == await proxy.metric("arks_openai_proxy_requests_total")
    assert (4, 1, 2) == (
        await proxy.metric("ark_engine_slots"),
        await proxy.metric("ark_engine_running_requests"),
        await proxy.metric("ark_engine_waiting_requests"),
    )


async def test_metrics_of_an_engine_that_is_away_are_absent(proxy: Proxy) -> None:
    proxy.engine.failures = [EngineFailed("UNAVAILABLE", "")]
    page = (await proxy.http.get("/metrics")).text
    assert "ark_engine_up 0.0" in page
    assert "ark_engine_slots" not in page


async def test_the_openapi_page_names_the_routes_and_their_bodies(proxy: Proxy) -> None:
    page = (await proxy.http.get("/openapi.json")).json()
    body = page["paths"][CHAT]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert {"$ref": "#/components/schemas/ChatBody"} == body
    assert {"200", "4XX", "5XX"} == set(page["paths"][CHAT]["post"]["responses"])
    assert {"messages", "model"} == set(page["components"]["schemas"]["ChatBody"]["required"])
