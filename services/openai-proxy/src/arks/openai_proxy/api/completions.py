"""Routes of chat and text completions."""

import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Protocol

from fastapi import APIRouter, Request
from pydantic_core import to_json
from sse_starlette import EventSourceResponse
from starlette.responses import Response

from arks.engine.v1.ark_pb2 import CompleteResponse, Generation, StreamCompleteResponse
from arks.openai_proxy.api.body_route import BodyRoute
from arks.openai_proxy.api.disconnect import until_disconnect
from arks.openai_proxy.api.errors import RESPONSES, engine_error
from arks.openai_proxy.api.joined import joined
from arks.openai_proxy.domain.answers import Head, chat_answer, text_answer
from arks.openai_proxy.domain.chunks import ChatChunks, Chunks, TextChunks
from arks.openai_proxy.domain.generation import from_chat, from_text
from arks.openai_proxy.domain.requests import ChatBody, SamplingBody, TextBody
from arks.openai_proxy.service.completions import Completions
from arks.openai_proxy.service.ports import EngineFailed, Meter

_DONE = b"data: [DONE]\n\n"
_RESPONSES: dict[int | str, dict[str, Any]] = {
    **RESPONSES,
    200: {
        "description": "The answer; with `stream`, its chunks and [DONE] as server-sent events",
        "content": {"application/json": {}, "text/event-stream": {}},
    },
}


def router(completions: Completions, meter: Meter) -> APIRouter:
    routes = APIRouter(route_class=BodyRoute)
    answering = _Answering(completions, meter)

    @routes.post("/v1/chat/completions", summary="Complete a chat", responses=_RESPONSES)
    async def chat_completions(body: ChatBody, request: Request) -> Response:
        head = _head("chatcmpl", body.model)
        generation = from_chat(body, head.id)
        if body.stream:
            return await answering.stream(request, generation, ChatChunks(head, **_options(body, generation)))
        return await answering.whole(request, generation, head, chat_answer)

    @routes.post("/v1/completions", summary="Complete a text", responses=_RESPONSES)
    async def text_completions(body: TextBody, request: Request) -> Response:
        head = _head("cmpl", body.model)
        generation = from_text(body, head.id)
        if body.stream:
            return await answering.stream(request, generation, TextChunks(head, **_options(body, generation)))
        return await answering.whole(request, generation, head, text_answer)

    return routes


def _head(prefix: str, model: str) -> Head:
    return Head(f"{prefix}-{uuid.uuid4().hex}", int(time.time()), model)


def _options(body: SamplingBody, generation: Generation) -> dict[str, bool]:
    include_usage = body.stream_options is not None and body.stream_options.include_usage
    return {"include_usage": include_usage, "with_logprobs": generation.logprobs}


class _Answer(Protocol):
    def __call__(self, head: Head, response: CompleteResponse, *, with_logprobs: bool) -> dict[str, Any]: ...


class _Answering:
    """Every method raises EngineFailed and Disconnected."""

    def __init__(self, completions: Completions, meter: Meter) -> None:
        self._completions = completions
        self._meter = meter

    async def whole(self, request: Request, generation: Generation, head: Head, answer: _Answer) -> Response:
        response = await until_disconnect(request, self._completions.complete(generation))
        content = to_json(answer(head, response, with_logprobs=generation.logprobs))
        return Response(content, media_type="application/json")

    async def stream(self, request: Request, generation: Generation, chunks: Chunks) -> Response:
        began = time.monotonic()
        events = await until_disconnect(request, self._completions.stream(generation))
        self._meter.first_event(time.monotonic() - began)
        return EventSourceResponse(joined(_server_sent_events(events, chunks)), sep="\n")


async def _server_sent_events(
    events: AsyncGenerator[StreamCompleteResponse, None], chunks: Chunks
) -> AsyncGenerator[bytes, None]:
    """The stream as the client gets it. An engine that fails midway ends it with an error instead of [DONE]."""
    async with aclosing(events):
        try:
            async for event in events:
                if (chunk := chunks.of(event)) is not None:
                    yield _event(chunk)
        except EngineFailed as error:
            yield _event(engine_error(error).body)
            return
        yield _DONE


def _event(body: dict[str, Any]) -> bytes:
    return b"data: " + to_json(body) + b"\n\n"
