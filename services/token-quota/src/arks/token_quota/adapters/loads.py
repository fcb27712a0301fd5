"""Load reports of some applications, over NATS, while requests wait for them."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from arks.contracts.subjects import load_subject
from arks.events.v1.load_pb2 import LoadReport
from arks.kit.bus import NATS_ERRORS, Bus
from arks.kit.key import Key


class BusLoads:
    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    @asynccontextmanager
    async def follow(self, applications: Iterable[Key], take: Callable[[LoadReport], None]) -> AsyncIterator[None]:
        """Call `take` with each report until the end of the context; with none while NATS is away."""
        async with AsyncExitStack() as stack:
            for key in applications:
                with suppress(*NATS_ERRORS):
                    subject = load_subject(key.namespace, key.name)
                    end = await self._bus.subscribe(subject, lambda payload: take(LoadReport.FromString(payload)))
                    stack.push_async_callback(_end, end)
            yield


async def _end(unsubscribe: Callable[[], Awaitable[None]]) -> None:
    with suppress(*NATS_ERRORS):  # the session ended, and the subscription with it
        await unsubscribe()
