"""An engine that counts by request id what it generated: `python -m bench.kills.engine PORT`.

`POST /v1/chat/completions` generates 1 to `max_tokens` tokens, as JSON after a moment or as a stream with a pause
between tokens. It ends early when the connection ends. `GET /requests` returns all requests that arrived.
"""

import asyncio
import random
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

from aiohttp import web

GAP_SECONDS = (0.002, 0.02)
"""Before each token of a stream, and before a JSON answer."""


@dataclass
class Generated:
    """What the engine did for a request."""

    prompt_tokens: int
    completion_tokens: int = 0
    """Written so far: of a stream, one an event."""
    finished: bool = False
    ended_milliseconds: int = 0
    """When the answer was written, or its connection had ended; 0 until then."""
    arrivals: int = 1
    """More than 1 if the gateway sent it again."""


class Engine:
    def __init__(self) -> None:
        self._requests: dict[str, Generated] = {}
        self._dice = random.Random(1)  # noqa: S311  # lengths of answers, no secret

    async def complete(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        generated = Generated(self._dice.randint(1, 40))
        if earlier := self._requests.get(request.headers["x-request-id"]):
            generated.arrivals += earlier.arrivals
        self._requests[request.headers["x-request-id"]] = generated
        try:
            tokens = self._dice.randint(1, body["max_tokens"])
            return await (
                self._stream(request, generated, tokens) if body.get("stream") else self._json(generated, tokens)
            )
        finally:
            generated.ended_milliseconds = int(time.time() * 1000)

    async def _json(self, generated: Generated, tokens: int) -> web.Response:
        await self._pause()
        generated.completion_tokens, generated.finished = tokens, True
        choice = {"index": 0, "message": {"role": "assistant", "content": "x" * tokens}, "finish_reason": "stop"}
        return web.json_response({"object": "chat.completion", "choices": [choice], "usage": usage(generated)})

    async def requests(self, _: web.Request) -> web.Response:
        return web.json_response({id_: asdict(generated) for id_, generated in self._requests.items()})

    async def _stream(self, request: web.Request, generated: Generated, tokens: int) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await answer.prepare(request)
        for _ in range(tokens):
            await self._pause()
            generated.completion_tokens += 1  # before the write: an event that was not written was not delivered either
            await _write(answer, {"choices": [{"index": 0, "delta": {"content": "x"}}]})
        await _write(answer, {"choices": [], "usage": usage(generated)})
        generated.finished = True
        await answer.write(b"data: [DONE]\n\n")
        return answer

    async def _pause(self) -> None:
        await asyncio.sleep(self._dice.uniform(*GAP_SECONDS))


def usage(generated: Generated) -> dict[str, int]:
    prompt, completion = generated.prompt_tokens, generated.completion_tokens
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


async def _write(answer: web.StreamResponse, event: dict[str, Any]) -> None:
    await answer.write(b"data: %s\n\n" % web.json_response({"object": "chat.completion.chunk", **event}).body)


def main(port: int) -> None:
    engine = Engine()
    app = web.Application()
    app.add_routes([web.post("/v1/chat/completions", engine.complete), web.get("/requests", engine.requests)])
    web.run_app(app, host="127.0.0.1", port=port, access_log=None, handler_cancellation=True, print=None)


if __name__ == "__main__":
    main(int(sys.argv[1]))
