"""What a slow answer is: one that Redis has not given, not one that this process had no time to read. And which replies
end a connection.
"""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from redis.exceptions import MasterDownError, ReadOnlyError, RedisError

from arks.kit.testing.wait import eventually
from arks.token_quota.adapters import redis_batches
from arks.token_quota.adapters.redis_batches import RedisBatches, patient_timeout

SECONDS = 0.02


async def test_an_answer_that_arrived_while_the_process_got_no_processor_is_read() -> None:
    loop = asyncio.get_running_loop()
    answered = loop.create_future()
    reader, writer = socket.socketpair()

    def read() -> None:
        loop.remove_reader(reader)
        answered.set_result(reader.recv(6))

    def wait_for_the_processor() -> None:
        writer.send(b"answer")
        time.sleep(3 * SECONDS)

    with reader, writer:
        loop.add_reader(reader, read)
        loop.call_soon(wait_for_the_processor)
        async with patient_timeout(SECONDS):
            assert b"answer" == await answered


async def test_without_an_answer_the_time_ends() -> None:
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        async with patient_timeout(SECONDS):
            await asyncio.Event().wait()
    assert time.monotonic() - began >= SECONDS


@asynccontextmanager
async def server(*replies: bytes, timeout_seconds: float = 5) -> AsyncIterator[RedisBatches]:
    """Batches for a server that answers all commands of its n-th connection with the n-th of `replies`."""
    remaining = list(replies)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reply = remaining.pop(0)
        with contextlib.suppress(OSError):
            while data := await reader.read(4096):
                writer.write(reply * data.count(b"*"))
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        batches = RedisBatches(f"redis://127.0.0.1:{port}", None, timeout_seconds=timeout_seconds)
        yield batches
        await batches.close()


@pytest.mark.parametrize("refusal", [b"-READONLY no writes", b"-MASTERDOWN no link"])
async def test_a_primary_that_has_handed_over_is_not_called_again(refusal: bytes) -> None:
    async with server(refusal + b"\r\n", b":7\r\n") as batches:
        with pytest.raises((ReadOnlyError, MasterDownError)):
            await batches.execute("INCR", "n")
        assert 7 == await batches.execute("INCR", "n")


async def test_after_a_call_without_an_answer_the_next_one_has_a_connection_of_its_own() -> None:
    """On the old one, it would read the late answer."""
    async with server(b"", b":7\r\n", timeout_seconds=0.05) as batches:
        with pytest.raises(TimeoutError):
            await batches.execute("INCR", "n")
        assert 7 == await batches.execute("INCR", "n")


async def test_a_cancelled_call_ends_no_other() -> None:
    for reply in (b":7\r\n", b""):
        async with server(reply, timeout_seconds=0.05) as batches:
            cancelled, other = (asyncio.create_task(batches.execute("INCR", "n")) for _ in range(2))
            await asyncio.sleep(0)
            cancelled.cancel()
            found = await asyncio.gather(other, return_exceptions=True)
            assert [7 if reply else TimeoutError] == [each if reply else type(each) for each in found]


async def test_a_bounded_number_of_calls_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_batches, "MAX_WAITING", 2)
    async with server(b":7\r\n") as batches:
        found = await asyncio.gather(*(batches.execute("INCR", "n") for _ in range(3)), return_exceptions=True)
    assert [7, 7] == found[:2]
    assert isinstance(found[2], RedisError)


async def test_calls_in_flight_are_answered_before_the_connection_is_closed() -> None:
    async with server(b":7\r\n") as batches:
        call = asyncio.create_task(batches.execute("INCR", "n"))
        await eventually(lambda: batches._connection.is_connected, what="the call is in flight")
        await batches.close()
        assert 7 == await call


async def test_another_error_reply_ends_no_connection() -> None:
    async with server(b"-ERR wrong\r\n") as batches:
        for _ in range(2):
            with pytest.raises(RedisError, match="wrong"):
                await batches.execute("INCR", "n")
