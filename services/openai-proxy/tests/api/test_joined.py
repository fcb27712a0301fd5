"""Pieces of a stream that are ready together."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from arks.openai_proxy.api.joined import MOST_PIECES, joined


async def _ready(number: int) -> AsyncGenerator[bytes, None]:
    for each in range(number):
        yield b"%d," % each


async def test_pieces_that_are_ready_come_as_one_and_in_order() -> None:
    assert [b"0,1,2,"] == [whole async for whole in joined(_ready(3))]


async def test_a_piece_does_not_wait_for_the_next() -> None:
    async def slow() -> AsyncGenerator[bytes, None]:
        yield b"first"
        await asyncio.Event().wait()

    async with asyncio.timeout(5), aclosing(joined(slow())) as stream:
        assert b"first" == await anext(stream)


async def test_a_slow_reader_bounds_what_is_read_ahead() -> None:
    read = 0

    async def pieces() -> AsyncGenerator[bytes, None]:
        nonlocal read
        while read < 1_000:
            read += 1
            yield b"x"

    async with aclosing(joined(pieces())) as stream:
        await anext(stream)
        for _ in range(100):
            await asyncio.sleep(0)
        assert 2 * MOST_PIECES == read
        assert 1_000 - MOST_PIECES == len(b"".join([whole async for whole in stream]))


async def test_a_failure_comes_after_what_was_ready() -> None:
    async def fails() -> AsyncGenerator[bytes, None]:
        yield b"a"
        raise ValueError("no")

    got = []
    with pytest.raises(ValueError, match="no"):
        async for whole in joined(fails()):
            got.append(whole)  # noqa: PERF401  # what came before the error
    assert [b"a"] == got


async def test_closing_it_closes_the_pieces() -> None:
    closed = False

    async def pieces() -> AsyncGenerator[bytes, None]:
        nonlocal closed
        try:
            yield b"a"
            await asyncio.Event().wait()
        finally:
            closed = True

    async with aclosing(joined(pieces())) as stream:
        await anext(stream)
    assert closed
