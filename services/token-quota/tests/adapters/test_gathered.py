"""What waits for a call, and what a call takes."""

import asyncio
from collections.abc import Sequence

import pytest

from arks.token_quota.adapters.gathered import MAX_TOGETHER, MAX_WAITING, Gathered
from arks.token_quota.service.ports.counters import CountersUnavailable


class Calls:
    """Each waits until it may end."""

    def __init__(self) -> None:
        self.taken: list[list[int]] = []
        self.may_end = asyncio.Semaphore(0)
        self.error: Exception | None = None

    async def __call__(self, items: Sequence[int]) -> list[int]:
        self.taken.append(list(items))
        await self.may_end.acquire()
        if self.error is not None:
            raise self.error
        return [-item for item in items]


async def begun(gathered: Gathered[int, int], items: Sequence[int]) -> list[asyncio.Task[int]]:
    tasks = [asyncio.create_task(gathered.result(item)) for item in items]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


async def test_an_item_alone_does_not_wait_and_those_after_it_go_together() -> None:
    calls = Calls()
    gathered = Gathered(calls)
    tasks = await begun(gathered, [1]) + await begun(gathered, [2]) + await begun(gathered, [3])
    calls.may_end.release()
    calls.may_end.release()
    assert [-1, -2, -3] == await asyncio.gather(*tasks)
    assert [[1], [2, 3]] == calls.taken


async def test_a_call_takes_a_bounded_number_of_items() -> None:
    calls = Calls()
    tasks = await begun(Gathered(calls), range(MAX_TOGETHER + 1))
    calls.may_end.release()
    calls.may_end.release()
    await asyncio.gather(*tasks)
    assert [MAX_TOGETHER, 1] == [len(taken) for taken in calls.taken]


async def test_a_failed_call_fails_its_items_and_no_later_ones() -> None:
    calls = Calls()
    calls.error = CountersUnavailable("Redis did not answer")
    gathered = Gathered(calls)
    failing = await begun(gathered, [1, 2])
    later = await begun(gathered, [3])
    calls.may_end.release()
    for task in failing:
        with pytest.raises(CountersUnavailable):
            await task
    calls.error = None
    calls.may_end.release()
    assert -3 == await later[0]


async def test_an_item_whose_caller_has_gone_holds_back_no_other() -> None:
    calls = Calls()
    first, second = await begun(Gathered(calls), [1, 2])
    first.cancel()
    calls.may_end.release()
    assert -2 == await second


async def test_more_items_than_may_wait_fail_at_once() -> None:
    calls = Calls()
    gathered = Gathered(calls)
    tasks = await begun(gathered, [0]) + await begun(gathered, range(MAX_WAITING))
    with pytest.raises(CountersUnavailable):
        await gathered.result(0)
    for _ in tasks:
        calls.may_end.release()
    await asyncio.gather(*tasks)
