import asyncio
from collections.abc import AsyncIterator

import pytest

from arks.kit.cache import Cache, Found, Unreadable
from arks.kit.key import Key

A, B, C = (Key("default", name) for name in "abc")


def test_a_listener_gets_existing_keys_and_every_real_change() -> None:
    cache: Cache[int] = Cache()
    cache.apply(A, 1)
    changed: list[Key] = []
    cache.subscribe(changed.append)
    cache.apply(A, 1)
    cache.apply(B, 2)
    cache.apply(B, None)
    cache.apply(B, None)
    assert [A, B, B] == changed


def test_a_new_list_removes_what_is_not_in_it_and_marks_the_cache_as_synced() -> None:
    cache: Cache[int] = Cache()
    cache.apply(A, 1)
    cache.apply(B, 2)
    changed: list[Key] = []
    cache.subscribe(lambda key: changed.append(key) if cache.get(key) is None else None)
    assert not cache.synced.is_set()
    cache.replace({B: 2, C: 3})
    assert cache.synced.is_set()
    assert {B: 2, C: 3} == dict(cache.items())
    assert [A] == changed


async def listed(*items: tuple[Key, Found[int]], fails: bool = False) -> AsyncIterator[tuple[Key, Found[int]]]:
    for item in items:
        yield item
    if fails:
        raise ConnectionError


async def test_the_first_list_is_visible_once_all_of_it_has_arrived() -> None:
    cache: Cache[int] = Cache()
    sizes: list[int] = []

    async def growing() -> AsyncIterator[tuple[Key, int | None]]:
        for item in ((A, 1), (B, 2), (A, 3), (B, None), (C, 4)):
            yield item
            sizes.append(len(cache))

    await cache.load(growing())
    assert ([0] * 5, {A: 3, C: 4}, True) == (sizes, dict(cache.items()), cache.synced.is_set())


async def test_a_first_list_that_breaks_shows_nothing() -> None:
    cache: Cache[int] = Cache()
    with pytest.raises(ConnectionError):
        await cache.load(listed((A, 1), fails=True))
    assert ({}, False) == (dict(cache.items()), cache.synced.is_set())


async def test_a_later_list_reports_real_changes_only_and_removes_what_is_not_in_it() -> None:
    cache: Cache[int] = Cache()
    await cache.load(listed((A, 1), (B, 2), (C, 3)))
    changed: list[tuple[Key, int | None]] = []
    cache.subscribe(lambda key: changed.append((key, cache.get(key))))
    changed.clear()
    await cache.load(listed((A, 1), (B, 5), (C, 3), (C, None)))
    assert [(B, 5), (C, None)] == changed
    await cache.load(listed((B, 5)))
    assert {B: 5} == dict(cache.items())


async def test_a_later_list_that_breaks_removes_nothing() -> None:
    cache: Cache[int] = Cache()
    await cache.load(listed((A, 1), (B, 2)))
    with pytest.raises(ConnectionError):
        await cache.load(listed((A, 3), fails=True))
    assert {A: 3, B: 2} == dict(cache.items())


async def test_other_tasks_run_while_a_long_list_is_stored() -> None:
    cache: Cache[int] = Cache()
    sizes: list[int] = []
    cache.subscribe(lambda key: None)

    async def other() -> None:
        while not cache.synced.is_set():
            sizes.append(len(cache))
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(other())
        tasks.create_task(cache.load(listed(*((Key("default", str(number)), number) for number in range(1000)))))
    assert len({size for size in sizes if 0 < size < 1000}) >= 3


def test_what_cannot_be_read_keeps_the_last_value_and_is_a_change() -> None:
    cache: Cache[int] = Cache()
    changed: list[Key] = []
    cache.subscribe(changed.append)
    cache.apply(A, 1)
    for _ in range(2):
        cache.apply(A, Unreadable("spec: is not valid"))
    cache.apply(B, Unreadable("spec: is not valid", deleting=True))
    assert [A, A, B] == changed
    assert {A: 1} == dict(cache.items())
    assert {A, B} == cache.existing()
    assert cache.exists(B)
    assert Unreadable("spec: is not valid", deleting=True) == cache.unreadable(B)


def test_a_value_that_can_be_read_again_and_a_deletion_end_the_fault() -> None:
    cache: Cache[int] = Cache()
    for key in (A, B):
        cache.apply(key, 1)
        cache.apply(key, Unreadable("no", last=2))
    assert {A: 2, B: 2} == dict(cache.items())
    cache.apply(A, 2)
    cache.apply(B, None)
    assert ({A: 2}, None, {A}) == (dict(cache.items()), cache.unreadable(A), cache.existing())


@pytest.mark.parametrize("again", [False, True])
async def test_a_list_with_what_cannot_be_read_removes_only_what_is_not_in_it(again: bool) -> None:
    cache: Cache[int] = Cache()
    for key in (A, B):
        cache.apply(key, 1)
    cache.apply(C, Unreadable("no"))
    if again:
        cache.synced.set()
    await cache.load(listed((A, Unreadable("no"))))
    assert ({A: 1}, {A}) == (dict(cache.items()), cache.existing())


def test_a_listener_that_fails_stops_neither_the_others_nor_the_watch() -> None:
    cache: Cache[int] = Cache()
    faults: list[tuple[Key, str]] = []
    changed: list[Key] = []
    cache.on_fault = lambda key, error: faults.append((key, str(error)))

    def fail(_: Key) -> None:
        raise ValueError("no")

    cache.apply(A, 1)
    for listener in (fail, changed.append):
        cache.subscribe(listener)
    cache.apply(B, 2)
    assert ([A, B], [(A, "no"), (B, "no")]) == (changed, faults)
