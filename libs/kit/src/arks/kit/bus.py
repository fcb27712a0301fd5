"""The NATS connection of a service. Creates missing streams and buckets.

After each reconnect every watch starts over (`sessions`), because a restarted server has lost the consumers.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import nats
import nats.errors
import nats.js.errors
import structlog
from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import RetentionPolicy, StreamConfig
from nats.js.kv import KeyValue
from prometheus_client import CollectorRegistry, Counter, Gauge

from arks.contracts import subjects
from arks.kit.errors import Unavailable
from arks.kit.faults import Faults
from arks.kit.gathering import GatheringTransport
from arks.kit.nats_login import login, set_identity
from arks.kit.settings import Settings

log = structlog.get_logger(__name__)

T = TypeVar("T")

NATS_ERRORS = (nats.errors.Error, nats.js.errors.Error, OSError, TimeoutError)
REQUEST_SECONDS = 5.0
RETRY_SECONDS = 0.25
_CLOSE_SECONDS = 1.0


def to_json(message: Message) -> bytes:
    return MessageToJson(message, indent=None).encode()


class Bus:
    """`start` returns when connected. All methods may be called while NATS is away."""

    def __init__(
        self, name: str, settings: Settings, registry: CollectorRegistry, *, creates_streams: bool = True
    ) -> None:
        """`creates_streams`: False for a person's client, whose version may differ from that of the services."""
        self._name = name
        self._creates_streams = creates_streams
        self._settings = settings
        self._client = Client()
        self._gathering: list[Client] = []
        """Connections of `subscribe_gathered`."""
        self._js: JetStreamContext | None = None
        self._session = asyncio.Condition()
        self._session_number = 0
        self._buckets: dict[str, KeyValue] = {}
        self._up = Gauge("arks_bus_connected", "1 while connected to NATS", registry=registry)
        self._up.set_function(lambda: float(self.connected))
        unreadable = Counter(
            "arks_bus_unreadable_messages", "Messages and entries that could not be read", ["source"], registry=registry
        )
        self.faults = Faults(unreadable)

    # --- connection

    @property
    def connected(self) -> bool:
        return bool(self._client.is_connected)

    @property
    def jetstream(self) -> JetStreamContext:
        if self._js is None:
            raise Unavailable(f"NATS at {self._settings.nats_url} has not answered yet")
        return self._js

    async def start(self) -> None:
        """Connect, retrying without limit, then create missing streams."""
        await self._until_connected(self._connect)
        self._js = self._client.jetstream(timeout=REQUEST_SECONDS)
        await self._ensure_streams()
        await self.new_session()

    async def stop(self) -> None:
        with contextlib.suppress(TimeoutError, *NATS_ERRORS):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._client.flush()
        for client in (self._client, *self._gathering):
            with contextlib.suppress(*NATS_ERRORS):
                await client.close()

    async def sessions(self) -> AsyncIterator[int]:
        """Yield a number for each new connection, newest only. Watches start over with each."""
        seen = 0
        while True:
            async with self._session:
                while self._session_number <= seen:
                    await self._session.wait()
                seen = self._session_number
            yield seen

    def session_is(self, number: int) -> bool:
        return self._session_number == number and self.connected

    async def session_ended(self, number: int) -> None:
        """Returns when there is a newer session than `number`."""
        async with self._session:
            await self._session.wait_for(lambda: self._session_number > number)

    async def _connect(self) -> None:
        async def on_reconnect() -> None:
            log.info("NATS is back", url=self._settings.nats_url)
            try:
                await self._ensure_streams()
            except Unavailable as error:
                log.warning("streams could not be checked", error=str(error))
            await self.new_session()

        async def on_disconnect() -> None:
            if not self._client.is_closed:
                log.warning("NATS is gone", url=self._settings.nats_url)

        await self._connect_client(
            self._client, f"arks-{self._name}", reconnected_cb=on_reconnect, disconnected_cb=on_disconnect
        )

    async def _connect_client(self, client: Client, name: str, **callbacks: Any) -> None:
        async def on_error(error: Exception) -> None:
            log.debug("NATS client", client=name, error=str(error) or type(error).__name__)

        set_identity(client, self._settings)
        await client.connect(
            **login(self._settings),
            name=name,
            connect_timeout=2,
            reconnect_time_wait=RETRY_SECONDS,  # type: ignore[arg-type]  # seconds; annotated as int
            max_reconnect_attempts=-1,
            ping_interval=20,
            error_cb=on_error,
            **callbacks,
        )

    async def _until_connected(self, connect: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await connect()
                return
            except NATS_ERRORS as error:
                log.warning(
                    "NATS does not answer", url=self._settings.nats_url, error=str(error) or type(error).__name__
                )
                await asyncio.sleep(RETRY_SECONDS)

    async def new_session(self) -> None:
        self._buckets.clear()
        async with self._session:
            self._session_number += 1
            self._session.notify_all()

    async def _ensure_streams(self) -> None:
        if not self._creates_streams:
            return
        await self.ensure_stream(
            subjects.EVENTS_STREAM, subjects.EVENTS_SUBJECTS, max_age_seconds=subjects.EVENTS_MAX_AGE_SECONDS
        )
        await self.ensure_stream(
            subjects.USAGE_STREAM, subjects.USAGE_SUBJECTS, max_age_seconds=subjects.USAGE_MAX_AGE_SECONDS
        )

    async def ensure_stream(self, name: str, subject: str, *, max_age_seconds: float) -> None:
        """Create the stream unless it exists. Raises Unavailable."""
        config = StreamConfig(
            name=name,
            subjects=[subject],
            retention=RetentionPolicy.LIMITS,
            max_age=max_age_seconds,
            duplicate_window=subjects.DEDUPLICATION_SECONDS,
        )
        await self._retry(lambda: self.jetstream.add_stream(config), f"stream {name}")

    async def bucket(self, name: str) -> KeyValue:
        """Return the KV bucket, created if missing. Raises Unavailable."""
        if name not in self._buckets:
            made = await self._retry(lambda: self.jetstream.create_key_value(bucket=name, history=1), f"bucket {name}")
            self._buckets[name] = made
        return self._buckets[name]

    def forget_bucket(self, name: str) -> None:
        """Call it after an error: the bucket may be lost, so the next `bucket` creates it if it is missing."""
        self._buckets.pop(name, None)

    async def _retry(self, call: Callable[[], Awaitable[T]], what: str) -> T:
        error: Exception | None = None
        for _ in range(20):
            try:
                return await call()
            except NATS_ERRORS as caught:  # JetStream answers a little later than NATS itself
                error = caught
                await asyncio.sleep(RETRY_SECONDS)
        raise Unavailable(f"NATS could not give {what}: {error}") from error

    # --- messages without a stream

    async def publish(self, subject: str, payload: bytes) -> None:
        """Send to current subscribers; drop the message if NATS is away."""
        if self.connected:
            with contextlib.suppress(*NATS_ERRORS):
                await self._client.publish(subject, payload)

    async def subscribe(self, subjects: str, take: Callable[[bytes], None]) -> Callable[[], Awaitable[None]]:
        """Call `take` with each payload from now on, after reconnects too, until the returned function is called. It
        must not block, and may raise anything: the message is then dropped and counted. Raises NATS_ERRORS, as the
        returned function does.
        """

        return await self.subscribe_with_subject(subjects, lambda _, payload: take(payload))

    async def subscribe_with_subject(
        self, subjects: str, take: Callable[[str, bytes], None]
    ) -> Callable[[], Awaitable[None]]:
        """As `subscribe`; `take` gets the subject too."""

        def read(subject: str, payload: bytes) -> None:
            self.faults.handle(subjects, subject, lambda: take(subject, payload))

        subscription = await self._client.subscribe(subjects, cb=_callback(read))
        return subscription.unsubscribe

    async def subscribe_gathered(self, subjects: str, take: Callable[[str, bytes], None], seconds: float) -> None:
        """As `subscribe_with_subject`, until `stop`, for many small messages: over a connection of its own that is read
        every `seconds`. `take` must not raise. Returns once the server has the subscription, or the connection is lost:
        then it has it after the reconnect.
        """
        client = Client()
        client._transport = GatheringTransport(seconds, take)  # `connect` has no argument for it
        await self._until_connected(lambda: self._connect_client(client, f"arks-{self._name}-{subjects}"))
        self._gathering.append(client)
        await client.subscribe(subjects, cb=_callback(take))  # for messages with headers
        with contextlib.suppress(*NATS_ERRORS):
            async with asyncio.timeout(REQUEST_SECONDS):
                await client.flush()


def _callback(read: Callable[[str, bytes], None]) -> Callable[[Msg], Awaitable[None]]:
    async def on_message(message: Msg) -> None:
        read(message.subject, message.data)

    return on_message
