import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from arks.kit.backoff import Backoff
from arks.kit.errors import Unavailable
from arks.kit.key import Key
from arks.kit.reconcile import Blocked, Controller, FirstPass, Requeue
from arks.kit.testing.wait import eventually

A, B, C = (Key("default", name) for name in "abc")
QUICK = Backoff(first_seconds=0.001, longest_seconds=0.01)


@asynccontextmanager
async def running(
    reconcile: Callable[[Key], Awaitable[Requeue | Blocked | None]],
    workers: int = 8,
    first_pass: FirstPass | None = None,
) -> AsyncIterator[Controller]:
    controller = Controller("test", reconcile, workers=workers, backoff=QUICK, first_pass=first_pass)
    task = asyncio.create_task(controller.run())
    try:
        yield controller
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_key_is_never_reconciled_concurrently_and_once_more_after_a_change() -> None:
    started: asyncio.Queue[Key] = asyncio.Queue()
    go_on = asyncio.Event()

    async def reconcile(key: Key) -> None:
        await started.put(key)
        await go_on.wait()

    async with running(reconcile) as controller:
        controller.enqueue(A)
        assert A == await started.get()
        controller.enqueue(A)
        controller.enqueue(A)
        controller.enqueue(B)
        assert B == await started.get()
        assert started.empty()
        go_on.set()
        assert A == await started.get()
        await controller.drain()
        assert started.empty()


async def test_a_key_that_waits_for_its_own_reconcile_delays_no_other() -> None:
    started: asyncio.Queue[Key] = asyncio.Queue()

    async def reconcile(key: Key) -> None:
        await started.put(key)
        await asyncio.Event().wait()

    async with running(reconcile) as controller, asyncio.timeout(5.0):
        controller.enqueue(A)
        assert A == await started.get()
        controller.enqueue(A)
        for key in (B, C):
            controller.enqueue(key)
            assert key == await started.get()


async def test_a_key_that_is_due_earlier_than_the_next_one_does_not_wait_for_it() -> None:
    started: asyncio.Queue[Key] = asyncio.Queue()
    async with running(started.put) as controller, asyncio.timeout(5.0):
        controller.enqueue(A, 60.0)
        controller.enqueue(B)
        assert B == await started.get()
        controller.enqueue(C, 0.01)
        assert C == await started.get()


async def test_a_failing_key_is_retried_and_does_not_stop_other_keys() -> None:
    done: asyncio.Queue[tuple[Key, int]] = asyncio.Queue()
    tries = {A: 0, B: 0}

    async def reconcile(key: Key) -> None:
        tries[key] += 1
        if key == A and tries[A] < 4:
            raise Unavailable("not yet") if tries[A] % 2 else ValueError("a mistake of ours")
        await done.put((key, tries[key]))

    async with running(reconcile) as controller:
        controller.enqueue(A)
        controller.enqueue(B)
        assert {(A, 4), (B, 1)} == {await done.get(), await done.get()}


async def test_a_requeued_key_is_reconciled_again_and_an_earlier_time_wins() -> None:
    seen: asyncio.Queue[Key] = asyncio.Queue()
    count = 0

    async def reconcile(key: Key) -> Requeue | None:
        nonlocal count
        count += 1
        await seen.put(key)
        return Requeue(after_seconds=0.001) if count == 1 else Requeue(after_seconds=3600)

    async with running(reconcile) as controller:
        controller.enqueue(A, after_seconds=3600)
        controller.enqueue(A)
        for _ in range(2):
            assert A == await seen.get()
        controller.enqueue(A)
        assert A == await seen.get()


async def test_no_more_reconciles_run_than_workers() -> None:
    under_way = most = 0
    remaining = 50
    finished = asyncio.Event()

    async def reconcile(_: Key) -> None:
        nonlocal under_way, most, remaining
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        remaining -= 1
        if not remaining:
            finished.set()

    async with running(reconcile, workers=3) as controller:
        for number in range(50):
            controller.enqueue(Key("default", f"k{number}"))
        await finished.wait()
    assert 3 == most


def test_backoff_doubles_up_to_its_longest() -> None:
    backoff = Backoff(first_seconds=1, longest_seconds=5)
    assert [1, 2, 4, 5, 5] == [backoff.delay_seconds(failures) for failures in (1, 2, 3, 4, 500)]


async def test_the_first_pass_is_done_once_every_existing_key_succeeded() -> None:
    results: dict[Key, list[Requeue | Blocked | None]] = {A: [Blocked(), Requeue(3600)], B: [None]}
    done: list[None] = []
    failed = asyncio.Event()

    async def reconcile(key: Key) -> Requeue | Blocked | None:
        if key == B and not failed.is_set():
            failed.set()
            raise Unavailable("not yet")
        return results[key].pop(0) if results[key] else None

    first_pass = FirstPass(lambda: [A, B], lambda: done.append(None))
    async with running(reconcile, first_pass=first_pass) as controller:
        await eventually(lambda: not results[B])
        await controller.drain()
        assert [] == done
        assert not controller.passed
        controller.enqueue(A)
        await eventually(lambda: done)
        assert controller.passed
        controller.enqueue(B)
        await controller.drain()
    assert [None] == done


async def test_the_first_pass_over_nothing_is_done_at_the_start() -> None:
    done = asyncio.Event()

    async def reconcile(_: Key) -> None: ...

    async with running(reconcile, first_pass=FirstPass(list, done.set)):
        await asyncio.wait_for(done.wait(), 1)


async def test_a_key_that_fails_for_ever_keeps_its_fact_and_no_others() -> None:
    done, kept = asyncio.Event(), set[Key]()

    async def reconcile(key: Key) -> Requeue | Blocked | None:
        if key == A:
            raise Unavailable("for ever")
        return Blocked()

    first_pass = FirstPass(lambda: [A, B], done.set, kept.add, limit_seconds=0.01)
    async with running(reconcile, first_pass=first_pass) as controller:
        await asyncio.wait_for(done.wait(), 5)
        assert ({A, B}, True) == (kept, controller.passed)
