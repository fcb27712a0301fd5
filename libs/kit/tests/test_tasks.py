import asyncio

from arks.kit.tasks import cancel


async def test_a_task_that_ignores_its_first_cancellations_is_cancelled() -> None:
    lost = 0
    begun = asyncio.Event()

    async def loses_some() -> None:
        nonlocal lost
        while lost < 2:
            begun.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                lost += 1
        await asyncio.Event().wait()

    task = asyncio.create_task(loses_some())
    await begun.wait()
    await cancel(task)
    assert (2, True) == (lost, task.cancelled())
