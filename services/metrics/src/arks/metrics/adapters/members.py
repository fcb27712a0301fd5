"""Exchange presence with the other replicas of metrics over NATS."""

import os
import secrets
import socket
from collections.abc import Callable

from arks.contracts.subjects import METRICS_MEMBERS_SUBJECT
from arks.events.v1.load_pb2 import MetricsMember
from arks.kit.bus import Bus
from arks.metrics.domain.members import Member


def name_of_process() -> str:
    """One that no other process has, and that people recognise."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"


class BusMembers:
    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    @property
    def connected(self) -> bool:
        return self._bus.connected

    async def follow(self, take: Callable[[Member], None]) -> None:
        """Call `take` with what each member sends, from now on. Raises NATS_ERRORS."""

        def take_message(payload: bytes) -> None:
            message = MetricsMember.FromString(payload)
            if message.name:
                take(Member(message.name, message.ready, message.leaving))

        await self._bus.subscribe(METRICS_MEMBERS_SUBJECT, take_message)

    async def send(self, member: Member) -> None:
        message = MetricsMember(name=member.name, ready=member.ready, leaving=member.leaving)
        await self._bus.publish(METRICS_MEMBERS_SUBJECT, message.SerializeToString())
