"""Requests for JSON at engines that end the work for a client that leaves for streams only, through a real Envoy."""

import asyncio
import json
from typing import Any

import httpx
import pytest
import pytest_asyncio

from arks.endpoint_router.testing.dialects import DONE, PROMPT, Work, delivered, event
from arks.endpoint_router.testing.gateway import Gateway, Gateways, grant
from arks.endpoint_router.testing.scripted import Request, answer, chunk, send_events, stream
from arks.kit.testing.wait import eventually

pytestmark = pytest.mark.real
CHAT = Work("llamacpp", is_chat=True, stream=True, copies=1, prompts=1, tokens=5)
SEVERAL = Work("llamacpp", is_chat=False, stream=True, copies=2, prompts=3, tokens=2)


@pytest_asyncio.fixture
async def joining(gateways: Gateways) -> Gateway:
    return await gateways.start(joins_streams=True)


def request_of(work: Work, **more: Any) -> bytes:
    """Return the client's request, which wants JSON."""
    return json.dumps({**json.loads(work.body()), "stream": False, **more}).encode()


async def post(gateway: Gateway, work: Work, **more: Any) -> httpx.Response:
    return await gateway.post(request_of(work, **more), work.path)


@pytest.mark.parametrize("work", [CHAT, SEVERAL], ids=["chat", "several completions"])
async def test_the_engine_makes_a_stream_and_the_client_gets_json(joining: Gateway, work: Work) -> None:
    joining.engine.script = stream(work.parts())
    response = await post(joining, work, stop=["z"])
    assert (200, "application/json") == (response.status_code, response.headers["content-type"])
    assert len(response.content) == int(response.headers["content-length"])
    found = response.json()
    texts = [choice["message"]["content"] if work.is_chat else choice["text"] for choice in found["choices"]]
    assert ["a" * work.tokens] * work.answers == texts
    (sent,) = joining.engine.requests
    wanted = {**json.loads(request_of(work, stop=["z"])), "stream": True, "stream_options": {"include_usage": True}}
    assert wanted == json.loads(sent.body)
    (line,) = await joining.usage()
    tokens = f"e,{PROMPT * work.prompts},{work.tokens * work.answers}"
    assert ("200", "false", tokens) == (line["status"], line["stream"], line["usage"])


async def test_what_was_made_until_the_client_hangs_up_is_counted(joining: Gateway) -> None:
    sent, ended = CHAT.parts()[:4], asyncio.Event()

    async def script(_: Request, writer: asyncio.StreamWriter) -> None:
        await send_events(writer, sent)
        try:
            while True:  # as an engine, which finds out by writing
                writer.write(chunk(b": a comment\n\n"))
                await writer.drain()
                await asyncio.sleep(0.01)
        finally:
            ended.set()

    joining.engine.script = script
    request = asyncio.create_task(post(joining, CHAT))

    async def received() -> bool:
        return await joining.stat("cluster.default/m.upstream_cx_rx_bytes_total") > len(b"".join(sent)) + 1000

    await eventually(received, what="the events, and comments after them")
    assert not request.done()
    request.cancel()
    await eventually(ended.is_set, what="the end of the engine's connection")
    (line,) = await joining.usage()
    assert ("0", f"d,{delivered(sent)}") == (line["status"], line["usage"])


async def test_nothing_was_made_if_the_client_hangs_up_before_the_first_event(joining: Gateway) -> None:
    begun = asyncio.Event()

    async def script(*_: object) -> None:
        begun.set()
        await asyncio.Event().wait()

    joining.engine.script = script
    request = asyncio.create_task(post(joining, CHAT))
    await begun.wait()
    request.cancel()
    (line,) = await joining.usage()
    assert ("0", "d,0") == (line["status"], line["usage"])


async def test_an_engine_that_breaks_in_the_middle_is_replaced_by_another(gateways: Gateways) -> None:
    gateway = await gateways.start(2, joins_streams=True)
    attempts = 0

    async def script(request: Request, writer: asyncio.StreamWriter) -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            await send_events(writer, CHAT.parts()[:4])
            writer.transport.abort()
        else:
            await stream(CHAT.parts())(request, writer)

    for engine in gateway.engines:
        engine.script = script
    response = await post(gateway, CHAT)
    assert (200, "a" * CHAT.tokens) == (response.status_code, response.json()["choices"][0]["message"]["content"])
    (line,) = await gateway.usage()
    assert ("2", f"e,{PROMPT},{CHAT.tokens}") == (line["attempts"], line["usage"])


@pytest.mark.parametrize("position", [0, 3])
async def test_an_error_in_the_stream_is_the_answer_and_costs_nothing(joining: Gateway, position: int) -> None:
    error = event(
        error={"code": 400, "message": "exceeds the available context size", "n_ctx": 5, "n_prompt_tokens": 6}
    )
    joining.engine.script = stream([*CHAT.parts()[:position], error, DONE])
    response = await post(joining, CHAT)
    found = response.status_code, response.headers["content-type"], response.json()["error"]["code"]
    assert (400, "application/json", "context_length_exceeded") == found
    (line,) = await joining.usage()
    assert ("400", "-") == (line["status"], line["usage"])


async def test_a_stream_that_ends_too_early_is_an_error_of_the_engine(joining: Gateway) -> None:
    joining.engine.script = stream(CHAT.parts()[:4])
    response = await post(joining, CHAT)
    assert (502, "engine_error") == (response.status_code, response.json()["error"]["code"])


async def test_an_answer_that_is_no_stream_passes(joining: Gateway) -> None:
    joining.engine.script = answer(b'{"error":{"code":400,"message":"no"}}', 400)
    assert 400 == (await post(joining, CHAT)).status_code
    joining.engine.script = answer()
    assert 12 == (await post(joining, CHAT)).json()["usage"]["prompt_tokens"]
    assert ["-", "e,12,3"] == [line["usage"] for line in await joining.usage(2)]


async def test_streams_and_embeddings_pass_as_they_are(joining: Gateway) -> None:
    joining.engine.script = stream(CHAT.parts())
    response = await joining.post(CHAT.body())
    assert "text/event-stream" == response.headers["content-type"].partition(";")[0]
    joining.engine.script = answer(b'{"object":"list","data":[],"usage":{"prompt_tokens":3,"total_tokens":3}}')
    body = b'{"model":"m","input":"a"}'
    assert 200 == (await joining.post(body, "/v1/embeddings")).status_code
    assert body == joining.engine.requests[-1].body


async def test_a_long_body_under_another_name_becomes_one_for_a_stream(joining: Gateway) -> None:
    joining.admission.script = grant(x_arks_engine_model="the-engines-name")
    parts = [part.replace(b'{"choices"', b'{"model":"the-engines-name","choices"') for part in CHAT.parts()]
    joining.engine.script = stream(parts)
    text = "word " * 200_000
    body = json.dumps({"stream": False, "model": "m", "messages": [{"role": "user", "content": text}]}).encode()
    response = await joining.post(body)
    assert (200, "m") == (response.status_code, response.json()["model"])
    options = {"stream": True, "stream_options": {"include_usage": True}}
    (sent,) = joining.engine.requests
    assert {**json.loads(body), "model": "the-engines-name", **options} == json.loads(sent.body)
