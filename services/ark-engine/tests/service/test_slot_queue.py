"""Who gets a slot."""

import asyncio
import itertools

import pytest

from arks.ark_engine.domain.failures import Failed
from arks.ark_engine.service.slot_queue import SlotQueue
from arks.kit.tasks import cancel


class Holder:
    """Takes a slot and keeps it until `end`."""

    def __init__(self, queue: SlotQueue) -> None:
        self._end = asyncio.Event()
        self.has_slot = False
        self.task = asyncio.ensure_future(self._hold(queue))

    async def _hold(self, queue: SlotQueue) -> None:
        async with queue.slot("prompt"):
            self.has_slot = True
            await self._end.wait()

    async def end(self) -> None:
        self._end.set()
        await self.task


async def _holders(queue: SlotQueue, count: int) -> list[Holder]:
    holders = [Holder(queue) for _ in range(count)]
    await asyncio.sleep(0)
    return holders


async def test_slots_are_given_in_the_order_of_arrival() -> None:
    queue = SlotQueue(1, most_waiting=9)
    holders = await _holders(queue, 3)
    assert (1, 2) == (queue.running, queue.waiting)
    for holder, later in itertools.pairwise(holders):
        await holder.end()
        await asyncio.sleep(0)
        assert later.has_slot
    await holders[-1].end()
    assert (0, 0) == (queue.running, queue.waiting)


async def test_a_full_queue_refuses() -> None:
    queue = SlotQueue(1, most_waiting=1)
    holders = await _holders(queue, 2)
    with pytest.raises(Failed) as failed:
        async with queue.slot(""):
            pass
    assert "RESOURCE_EXHAUSTED" == failed.value.status
    for holder in holders:
        await holder.end()


async def test_a_cancelled_wait_loses_no_slot() -> None:
    queue = SlotQueue(1, most_waiting=9)
    first, second, third = await _holders(queue, 3)
    await cancel(second.task)
    assert 1 == queue.waiting
    await first.end()
    await asyncio.sleep(0)
    assert third.has_slot
    await third.end()
    assert 0 == queue.running


async def test_a_slot_that_comes_with_the_cancellation_goes_to_the_next() -> None:
    queue = SlotQueue(1, most_waiting=9)
    first, second, third = await _holders(queue, 3)
    first._end.set()
    await asyncio.sleep(0)  # the slot is passed on to the second, which has not run yet
    second.task.cancel()
    await asyncio.wait({second.task})
    await asyncio.sleep(0)
    assert third.has_slot
    await third.end()
    assert (0, 0) == (queue.running, queue.waiting)
