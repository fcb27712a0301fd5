"""The shipper's neighbours: JetStream and Envoy's admin port."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import aiohttp
import structlog
from nats.js.api import PubAck

from arks.kit.bus import NATS_ERRORS, REQUEST_SECONDS, Bus
from arks.kit.errors import Unavailable
from arks.token_quota.programs.shipper.state import Message

log = structlog.get_logger(__name__)

ADMIN_SECONDS = 5.0


class JetStreamPublisher:
    """Publishes messages at once and waits for them together: half the cost of one after the other."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def publish(self, messages: Sequence[Message]) -> list[Message]:
        if not self._bus.connected:
            return list(messages)
        sent: list[tuple[Message, asyncio.Future[PubAck]]] = []
        unsent: list[Message] = []
        for message in messages:
            try:
                sent.append((message, await self._send(message)))
            except (*NATS_ERRORS, Unavailable) as error:
                log.debug("usage batch not sent", error=str(error) or type(error).__name__)
                unsent.append(message)
        if sent:
            await asyncio.wait([future for _, future in sent], timeout=REQUEST_SECONDS)
        return unsent + [message for message, future in sent if not _acknowledged(future)]

    async def _send(self, message: Message) -> asyncio.Future[PubAck]:
        headers = {"Nats-Msg-Id": message.id}
        return await self._bus.jetstream.publish_async(
            message.subject, message.payload, wait_stall=REQUEST_SECONDS, headers=headers
        )


def _acknowledged(future: asyncio.Future[PubAck]) -> bool:
    if not future.done():
        future.cancel()
        return False
    return not future.cancelled() and future.exception() is None


class EnvoyAdmin:
    def __init__(self, host: str, port: int, socket: Path | None = None) -> None:
        """`socket`: a Unix socket instead of host and port."""
        self._address = f"http://{host}:{port}/reopen_logs"
        self._socket = socket

    async def reopen_log(self) -> None:
        timeout = aiohttp.ClientTimeout(total=ADMIN_SECONDS)
        try:
            connector = aiohttp.UnixConnector(str(self._socket)) if self._socket else None
            session = aiohttp.ClientSession(connector=connector, timeout=timeout)
            async with session, session.post(self._address) as answer:
                answer.raise_for_status()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unavailable(f"{self._socket or self._address}: {error or type(error).__name__}") from error
