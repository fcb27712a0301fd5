"""One streamed answer, from a gateway of this test."""

import asyncio
import itertools

import pytest
from aiohttp import web

from arks.kit.testing.web import serving
from arks.local.client.chat_stream import Answer, AnswerCutOff, ChatClient, ChatRejected, GatewayLost, read_events

LINES = [
    'data: {"choices":[{"delta":{"role":"assistant"}}]}',
    "",
    ": keep-alive",
    'data: {"choices":[{"delta":{"content":"Hel"}}]}',
    'data: {"choices":[{"delta":{"content":"lo"},"finish_reason":"stop"}]}',
    'data: {"choices":[],"usage":{"completion_tokens":2}}',
    "data: [DONE]",
]


def test_an_answer_is_joined_from_its_events_with_its_figures() -> None:
    answer = Answer()
    assert ["Hel", "lo"] == list(read_events(iter(LINES), answer))
    assert ("Hello", 2, "stop") == (answer.text, answer.completion_tokens, answer.finish_reason)


def test_an_error_of_the_engine_keeps_what_had_arrived() -> None:
    answer = Answer()
    with pytest.raises(AnswerCutOff, match="out of memory"):
        list(read_events(iter([*LINES[:4], 'data: {"error":{"message":"out of memory"}}']), answer))
    assert "Hel" == answer.text


async def _answer(request: web.Request) -> web.Response:
    body = await request.json()
    if request.headers["Authorization"] != "Bearer sk-1":
        return web.Response(status=401, text="no")
    assert {"include_usage": True} == body["stream_options"]
    return web.Response(text="\n\n".join(LINES) + "\n\n", content_type="text/event-stream")


async def test_times_and_rejections_come_from_the_gateway() -> None:
    application = web.Application()
    application.router.add_post("/chat/completions", _answer)
    ticks = itertools.count(step=0.5)
    async with serving(application) as port:
        url = f"http://127.0.0.1:{port}"
        answer = Answer()
        client = ChatClient(url, "sk-1", "qwen", clock=lambda: next(ticks))
        received = await asyncio.to_thread(lambda: list(client.stream([], answer)))
        with pytest.raises(ChatRejected) as rejected:
            await asyncio.to_thread(lambda: list(ChatClient(url, "sk-2", "qwen").stream([], Answer())))
    assert (["Hel", "lo"], 0.5, 1.0) == (received, answer.first_seconds, answer.seconds)
    assert (401, "no") == (rejected.value.status, rejected.value.body)
    with pytest.raises(GatewayLost):
        list(ChatClient(url, "sk-1", "qwen").stream([], Answer()))
    assert "sk-1" not in repr(client)
