"""Open-loop load: `python -m bench.routing.load PORTS LOAD`, a `Load` as JSON, prints records as JSON.

A request is sent at its time whether or not earlier ones were answered, and its time to first token counts from the
time at which it should have been sent: a generator that falls behind makes results worse, never better.
"""

import asyncio
import json
import random
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import cast

import uvloop

from bench.gateway.scenarios import CLUSTER_HEADER
from bench.routing.engine import TOKENS

KEY_HEADER = "bench-key"
"""The key of affinity, which the gateway's filter would make from the prompt."""
END_SECONDS = 15.0
"""Requests that have no end this long after the last one was sent have failed."""


@dataclass(frozen=True, slots=True)
class Load:
    cluster: str
    rate: float
    """Requests a second."""
    seconds: float
    arrivals: str
    """even or poisson."""
    seed: int
    prefixes: int = 0
    """Of prompts; each request has one of them. 0: prompts have nothing in common."""
    lengths: str = "even"
    """Of answers: even, or lognormal, of which one in a hundred is over six times the mean."""

    def requests(self) -> Iterator[bytes]:
        """Yield requests without end."""
        random_ = random.Random(self.seed)  # noqa: S311  # a simulation
        while True:
            prefix = random_.randrange(self.prefixes) if self.prefixes else None
            length = 1.0 if self.lengths == "even" else random_.lognormvariate(-0.5, 1.0)
            yield self._request(prefix, max(1, round(TOKENS * length)))

    def _request(self, prefix: int | None, tokens: int) -> bytes:
        own = f'"max_tokens":{tokens},' + ("" if prefix is None else f'"prefix":{prefix},')
        key = "" if prefix is None else f"{KEY_HEADER}: {random.Random(prefix).getrandbits(64):016x}\r\n"  # noqa: S311
        body = f'{{"model":"chat","stream":true,{own}"messages":[{{}}]}}'
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\n{CLUSTER_HEADER}: {self.cluster}\r\n{key}"
        return f"{head}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()

    def times(self) -> Iterator[float]:
        """Yield when requests are due."""
        random_, at = random.Random(self.seed), 0.0  # noqa: S311  # a simulation
        while at < self.seconds:
            yield at
            at += 1 / self.rate if self.arrivals == "even" else random_.expovariate(self.rate)


@dataclass(slots=True)
class Record:
    due: float
    """Seconds since the first request, as are the times below."""
    sent: float = 0.0
    first: float | None = None
    last: float | None = None
    gap: float = 0.0
    """Longest time between two events."""
    status: int = 0
    replica: int = -1


class Client(asyncio.Protocol):
    """A connection with one request at a time."""

    transport: asyncio.Transport

    def __init__(self, idle: list["Client"], begun: float) -> None:
        self._idle = idle
        self._begun = begun
        self._record: Record | None = None
        self._tail = b""
        self.done: asyncio.Future[None] | None = None
        self.closed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def send(self, record: Record, request: bytes) -> None:
        self._record, self._tail = record, b""
        self.done = asyncio.get_running_loop().create_future()
        record.sent = self._now()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        record, now = self._record, self._now()
        if record is None:
            return
        if not record.status:
            self._head(record, data)
        if b"data:" in data:
            record.gap = max(record.gap, now - record.last) if record.last is not None else 0.0
            record.first = now if record.first is None else record.first
        record.last = now
        self._tail = (self._tail + data)[-5:]
        if self._tail == b"0\r\n\r\n" or record.status != 200:
            self._end()
            self._idle.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set()
        if self in self._idle:
            self._idle.remove(self)
        self._end()

    def _head(self, record: Record, data: bytes) -> None:
        record.status = int(data[9:12])
        if (at := data.find(b"x-replica: ")) >= 0:
            record.replica = int(data[at + 11 : data.index(b"\r\n", at)])

    def _end(self) -> None:
        self._record = None
        if self.done is not None and not self.done.done():
            self.done.set_result(None)

    def _now(self) -> float:
        return asyncio.get_running_loop().time() - self._begun


async def run(ports: list[int], load: Load) -> list[Record]:
    """Send to the ports in turn, and return the records of all requests."""
    loop = asyncio.get_running_loop()
    begun = loop.time() + 0.1
    idle: dict[int, list[Client]] = {port: [] for port in ports}
    records: list[Record] = []
    tasks: set[asyncio.Task[None]] = set()

    async def send_at(record: Record, port: int, request: bytes) -> None:
        if idle[port]:
            client = idle[port].pop()
        else:
            _, client = await loop.create_connection(lambda: Client(idle[port], begun), "127.0.0.1", port)
        client.send(record, request)
        assert client.done is not None
        await client.done

    for due, request in zip(load.times(), load.requests(), strict=False):
        if (wait := begun + due - loop.time()) > 0:
            await asyncio.sleep(wait)
        record = Record(due)
        records.append(record)
        task = asyncio.create_task(send_at(record, ports[len(records) % len(ports)], request))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    if tasks:
        _, late = await asyncio.wait(tasks, timeout=END_SECONDS)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
    for client in [client for clients in idle.values() for client in clients]:
        client.transport.close()
        await client.closed.wait()
    return records


def main(ports: str, load: str) -> None:
    numbers = [int(port) for port in ports.split(",")]
    json.dump([asdict(record) for record in uvloop.run(run(numbers, Load(**json.loads(load))))], sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
