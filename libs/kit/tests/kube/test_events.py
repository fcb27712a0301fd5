import asyncio
from typing import cast

from arks.kit.errors import Unavailable
from arks.kit.kube.events import KubeEventQueue, KubeEvents
from arks.kit.testing.wait import eventually
from arks.kit.types import Json


def pod(name: str) -> Json:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "team", "uid": name}}


class Events:
    def __init__(self) -> None:
        self.reasons: list[str] = []

    async def emit_on(self, obj: Json, reason: str, message: str, *, warning: bool = False) -> None:
        if reason == "Fails":
            raise Unavailable("the API server is away")
        self.reasons.append(reason)


async def test_an_event_that_cannot_be_written_does_not_delay_the_next() -> None:
    events = Events()
    queue = KubeEventQueue(cast(KubeEvents, events))
    task = asyncio.create_task(queue.run())
    queue.put_on(pod("a"), "Fails", "")
    queue.put_on(pod("a"), "Works", "")
    await eventually(lambda: events.reasons == ["Works"])
    task.cancel()


async def test_events_beyond_the_bound_are_dropped() -> None:
    events = Events()
    queue = KubeEventQueue(cast(KubeEvents, events), max_waiting=2)
    for number in range(4):
        queue.put_on(pod("a"), str(number), "")
    task = asyncio.create_task(queue.run())
    await eventually(lambda: events.reasons == ["0", "1"])
    task.cancel()


async def test_nothing_is_written_before_leading() -> None:
    events, leading = Events(), asyncio.Event()
    queue = KubeEventQueue(cast(KubeEvents, events), leading)
    task = asyncio.create_task(queue.run())
    queue.put_on(pod("a"), "Late", "")
    await asyncio.sleep(0)
    assert [] == events.reasons
    leading.set()
    await eventually(lambda: events.reasons == ["Late"])
    task.cancel()
