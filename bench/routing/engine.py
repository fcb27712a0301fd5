"""Simulated engines, all in one process: `python -m bench.routing.engine SPECS`, a list of `Spec` as JSON.

A replica has slots with a queue in front of them. A request in a slot gets its first token after a while and then one
at a steady interval, as an event stream. With a prefix cache the first token of a request comes later if its prefix is
not among the last ones. `/metrics` has vLLM's or llama.cpp's names; POST /control changes speed and
metrics while it runs.
"""

import asyncio
import json
import re
import sys
import time
from collections import OrderedDict, deque
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import uvloop

from bench.requests import Requests

LATE_SECONDS = 10.0
"""Age of the numbers on a late page."""
TOKENS = 8
"""Of a request of mean length: it takes `seconds` of a replica."""
_PREFIX = re.compile(rb'"prefix":(\d+)')
_TOKENS = re.compile(rb'"max_tokens":(\d+)')
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\nx-replica: %d\r\n\r\n"


@dataclass
class Spec:
    port: int
    slots: int
    seconds: float
    """Of a request in a slot."""
    first_seconds: float
    """Until its first token."""
    runtime: str = "vllm"
    cached: int = 0
    """Prefixes in its cache."""
    prefill_seconds: float = 0.0
    """Of a prefix that is not in it."""


@dataclass
class Replica:
    spec: Spec
    number: int
    slowdown: float = 1.0
    lie: str = ""
    """frozen, zero, nan, negative, absent or late."""
    frozen: str = ""
    pages: deque[tuple[float, str]] = field(default_factory=deque)
    """(time, page), the last LATE_SECONDS of them, while pages are late."""
    running: int = 0
    finished: int = 0
    tokens: int = 0
    waiting: deque["Connection"] = field(default_factory=deque)
    cache: OrderedDict[int, None] = field(default_factory=OrderedDict)

    def add(self, connection: "Connection") -> None:
        if self.running < self.spec.slots:
            self._start(connection)
        else:
            self.waiting.append(connection)

    def _start(self, connection: "Connection") -> None:
        self.running += 1
        now, factor = asyncio.get_running_loop().time(), self.slowdown
        interval = factor * (self.spec.seconds - self.spec.first_seconds) / (TOKENS - 1)
        first = self.spec.first_seconds + (0.0 if self.use(connection.prefix) else self.spec.prefill_seconds)
        connection.stream(now + factor * first, interval)

    def use(self, prefix: int | None) -> bool:
        """Return whether the prefix was in the cache; it is the newest one in it now."""
        if prefix is None:
            return True
        known = prefix in self.cache
        self.cache[prefix] = None
        self.cache.move_to_end(prefix)
        if len(self.cache) > self.spec.cached:
            self.cache.popitem(last=False)
        return known

    def end(self, *, finished: bool) -> None:
        self.running -= 1
        self.finished += finished
        while self.waiting and self.running < self.spec.slots:
            connection = self.waiting.popleft()
            if not connection.transport.is_closing():
                self._start(connection)

    def control(self, change: dict[str, Any]) -> None:
        self.slowdown = change.get("slowdown", self.slowdown)
        self.lie = change.get("lie", self.lie)
        self.frozen = self.true_page() if self.lie == "frozen" else ""
        self.pages.clear()

    def page(self) -> str:
        match self.lie:
            case "frozen":
                return self.frozen
            case "zero":
                return self.true_page(0, 0, 0, 0)
            case "nan":
                return self.true_page(float("nan"), float("nan"), 0, 0)
            case "negative":
                return self.true_page(-3, -1, -5, -1)
            case "late":
                return self._late_page(time.monotonic())
        return self.true_page()

    def _late_page(self, now: float) -> str:
        self.pages.append((now, self.true_page()))
        while len(self.pages) > 1 and self.pages[1][0] <= now - LATE_SECONDS:
            self.pages.popleft()
        return self.pages[0][1]

    def true_page(self, *numbers: float) -> str:
        """Return the page; `numbers`: running, waiting, tokens and finished requests, instead of the true ones."""
        running, waiting, tokens, finished = numbers or (
            *(self.running, len(self.waiting), self.tokens, self.finished),
        )
        if self.spec.runtime == "llamacpp":
            return (
                f"# TYPE llamacpp:requests_processing gauge\nllamacpp:requests_processing {running}\n"
                f"# TYPE llamacpp:requests_deferred gauge\nllamacpp:requests_deferred {waiting}\n"
                f"# TYPE llamacpp:tokens_predicted_total counter\nllamacpp:tokens_predicted_total {tokens}\n"
                f"# TYPE llamacpp:prompt_tokens_total counter\nllamacpp:prompt_tokens_total {finished}\n"
            )
        labels = 'engine="0",model_name="chat"'
        return (
            f"# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running{{{labels}}} {float(running)}\n"
            f"# TYPE vllm:num_requests_waiting gauge\nvllm:num_requests_waiting{{{labels}}} {float(waiting)}\n"
            f"# TYPE vllm:kv_cache_usage_perc gauge\nvllm:kv_cache_usage_perc{{{labels}}} 0.25\n"
            f"# TYPE vllm:generation_tokens counter\nvllm:generation_tokens_total{{{labels}}} {float(tokens)}\n"
            f"# TYPE vllm:request_success counter\n"
            f'vllm:request_success_total{{{labels},finished_reason="stop"}} {float(finished)}\n'
        )


class Connection(Requests):
    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._sent = 0
        self._due = self._interval = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self.prefix: int | None = None
        self._tokens = TOKENS

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._replica.end(finished=False)

    def answer(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"get /metrics"):
            if self._replica.lie == "absent":
                self.transport.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
            else:
                self._write(self._replica.page().encode())
        elif head.startswith(b"post /control"):
            self._replica.control(json.loads(body))
            self._write(b"{}")
        else:
            found = _PREFIX.search(body)
            self.prefix = int(found[1]) if found else None
            most = _TOKENS.search(body)
            self._tokens = int(most[1]) if most else TOKENS
            self._replica.add(self)

    def _write(self, body: bytes) -> None:
        self.transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\ncontent-length: %d\r\n\r\n%s"
            % (len(body), body)
        )

    def stream(self, first_at: float, interval: float) -> None:
        self._sent, self._due, self._interval = 0, first_at, interval
        self._timer = asyncio.get_running_loop().call_at(first_at, self._token)

    def _token(self) -> None:
        event = b"data: {}\n\n"
        text = b"%x\r\n%s\r\n" % (len(event), event)
        if self._sent == 0:
            text = _HEAD % self._replica.number + text
        self._sent += 1
        self._replica.tokens += 1
        if self._sent >= self._tokens:
            self._timer = None
            self.transport.write(text + b"0\r\n\r\n")
            self._replica.end(finished=True)
            return
        self._due += self._interval
        self._timer = asyncio.get_running_loop().call_at(self._due, self._token)
        self.transport.write(text)


def as_json(specs: list[Spec]) -> str:
    return json.dumps([asdict(spec) for spec in specs])


async def serve(specs: list[Spec]) -> None:
    loop = asyncio.get_running_loop()
    for number, spec in enumerate(specs):
        replica = Replica(spec, number)
        await loop.create_server(partial(Connection, replica), "127.0.0.1", spec.port, backlog=4096)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve([Spec(**fields) for fields in json.loads(sys.argv[1])]))
