"""Redis commands in batches: commands issued during one round trip go into the next together.

Why not redis-py's own client: its connection pool, retries and telemetry cost 90 us of CPU a call, which is most of
what admission may cost; batches over one connection cost 20 us. Connecting, TLS, AUTH, SELECT and error
replies are still redis-py's.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import hiredis
import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MasterDownError, ReadOnlyError, RedisError

MAX_BATCH = 256
MAX_WAITING = 10_000

_STEPS = 5

_NO_PRIMARY = (ReadOnlyError, MasterDownError)
"""Replies of a server that takes no writes because another one took its part."""

_Waiting = tuple[bytes, asyncio.Future[Any]]


@asynccontextmanager
async def patient_timeout(seconds: float) -> AsyncIterator[None]:
    """Raise TimeoutError after a time in which the event loop ran: in steps, each at most a fifth of the time however
    late the loop comes to it. A plain timeout that is late ends a call whose answer has arrived.
    """
    loop, step = asyncio.get_running_loop(), seconds / _STEPS
    timer: asyncio.TimerHandle

    def pass_step(passed: int) -> asyncio.TimerHandle:
        return loop.call_later(step, end_step, passed + 1)

    def end_step(passed: int) -> None:
        nonlocal timer
        if passed < _STEPS:
            timer = pass_step(passed)
        else:
            limit.reschedule(loop.time())

    timer = pass_step(0)
    try:
        async with asyncio.timeout(None) as limit:
            yield
    finally:
        timer.cancel()


class RedisBatches:
    """One connection. A batch that is not answered in `timeout_seconds` fails as a whole, and with it the
    connection. The time does not pass while this process gets no processor: then the answer may wait to be read.

    A primary that hands over to its replica keeps its clients' connections, on which every write fails from then on. So
    such a reply ends the connection, and the next batch looks up the address again.
    """

    def __init__(
        self, url: str, password: str | None, *, timeout_seconds: float, login: Mapping[str, str] | None = None
    ) -> None:
        """`login`: more arguments of the client's connection, for another user and TLS."""
        pool = redis.ConnectionPool.from_url(
            url,
            password=password,
            **(login or {}),
            socket_connect_timeout=timeout_seconds,
            socket_timeout=None,  # the batch has its own time limit
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )
        self._connection = pool.make_connection()  # type: ignore[no-untyped-call]
        self._timeout_seconds = timeout_seconds
        self._waiting: deque[_Waiting] = deque()
        self._sending: asyncio.Task[None] | None = None

    async def execute(self, *command: str | bytes | int) -> Any:
        """One command's reply. Raises RedisError, OSError or TimeoutError."""
        if len(self._waiting) >= MAX_WAITING:
            raise RedisConnectionError("too many calls wait for Redis")
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        packed = hiredis.pack_command(command)  # type: ignore[arg-type]  # any number of them, although the annotation allows only one
        self._waiting.append((packed, future))
        if self._sending is None:
            self._sending = asyncio.create_task(self._send_all(), name="redis batches")
        reply = await future
        if isinstance(reply, RedisError):
            raise reply
        return reply

    async def close(self) -> None:
        """Wait for the commands in flight, then close the connection."""
        if self._sending is not None:
            await asyncio.wait({self._sending}, timeout=self._timeout_seconds)
        await self._connection.disconnect()

    async def _send_all(self) -> None:
        try:
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), MAX_BATCH))]
                await self._send(batch)
        finally:
            self._sending = None

    async def _send(self, batch: list[_Waiting]) -> None:
        try:
            async with patient_timeout(self._timeout_seconds):
                await self._connection.send_packed_command([command for command, _ in batch], check_health=False)
                hands_over = False
                for _, future in batch:
                    reply = await self._reply()
                    hands_over |= isinstance(reply, _NO_PRIMARY)
                    if not future.done():
                        future.set_result(reply)
            if hands_over:
                await self._connection.disconnect(nowait=True)
        except (RedisError, OSError, TimeoutError) as error:
            await self._connection.disconnect(nowait=True)
            for _, future in batch:
                if not future.done():
                    future.set_exception(type(error)(*error.args))

    async def _reply(self) -> Any:
        """A reply; an error reply (a script that is not loaded) is returned, so that the others still get theirs."""
        try:
            return await self._connection.read_response(disconnect_on_error=False)
        except (RedisConnectionError, OSError, TimeoutError):
            raise
        except RedisError as error:
            return error
