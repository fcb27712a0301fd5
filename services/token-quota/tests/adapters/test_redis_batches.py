"""What a slow answer is: one that Redis has not given, not one that this process had no time to read."""

import asyncio
import socket
import time

import pytest

from arks.token_quota.adapters.redis_batches import patient_timeout

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
