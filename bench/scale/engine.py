"""A fake engine at many loopback addresses: `python -m bench.scale.engine PORT NUMBER`.

It answers every request at once, so that the measured cost of hundreds of applications is the cost of Arks.
"""

import asyncio
import socket
import sys

from bench.requests import Requests

_METRICS = b"vllm:num_requests_running 0\nvllm:num_requests_waiting 0\nvllm:kv_cache_usage_perc 0\n"
_ANSWER = (
    b'{"id":"x","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},'
    b'"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}'
)


def address(number: int) -> str:
    """Address of the engine with this number; the first is 0."""
    return f"127.77.{number // 250}.{number % 250 + 1}"


def _response(body: bytes, type_: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\ncontent-length: %d\r\n\r\n%s" % (type_, len(body), body)


class Engine(Requests):
    _metrics = _response(_METRICS, b"text/plain; version=0.0.4")
    _answer = _response(_ANSWER, b"application/json")

    def answer(self, head: bytes, body: bytes) -> None:
        self.transport.write(self._metrics if head.startswith(b"get /metrics") else self._answer)


async def serve(port: int, number: int) -> None:
    loop = asyncio.get_running_loop()
    for index in range(number):
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((address(index), port))
        await loop.create_server(Engine, sock=listening)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2])))
