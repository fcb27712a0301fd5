"""A shipper on real files, with NATS and Envoy replaced. Killed shippers: a new one is built on the same directory."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from prometheus_client import CollectorRegistry

from arks.kit.errors import Unavailable
from arks.kit.testing.clock import FakeClock
from arks.token_quota.domain.batch import ClosedLease, StartedRequest, UsageBatch
from arks.token_quota.domain.lease_book import CLOSE_MARGIN_MILLISECONDS
from arks.token_quota.domain.wire import decode
from arks.token_quota.programs.shipper.segments import Segments
from arks.token_quota.programs.shipper.ship import Shipper, ShipperMetrics
from arks.token_quota.programs.shipper.state import Message, ShipperState, StateFile

LEASE_MILLISECONDS = 1000


class Killed(Exception):
    """Stands for SIGKILL at this point."""


class FakePublisher:
    def __init__(self) -> None:
        self.sent: list[Message] = []
        """Also those that were not acknowledged."""
        self.called = asyncio.Event()
        self.away = 0
        """Calls that fail from now on: the first message arrives, no other."""
        self.dead = False
        """Nothing arrives."""
        self.kill_after: int | None = None
        """Messages that arrive before the shipper is killed."""

    async def publish(self, messages: Sequence[Message]) -> list[Message]:
        self.called.set()
        if self.kill_after is not None:
            self.sent.extend(messages[: self.kill_after])
            raise Killed
        if self.dead:
            return list(messages)
        if self.away:
            self.away -= 1
            self.sent.extend(messages[:1])
            return list(messages[1:])
        self.sent.extend(messages)
        return []


class FakeGateway:
    def __init__(self, log: Path) -> None:
        self.log = log
        self.down = False
        self.requested = 0

    async def reopen_log(self) -> None:
        self.requested += 1
        if self.down:
            raise Unavailable("no answer")
        self.log.touch()


class KillableStateFile(StateFile):
    kill = ""
    """`before` or `after` the next writing."""

    def save(self, state: ShipperState) -> None:
        if self.kill == "before":
            raise Killed
        super().save(state)
        if self.kill == "after":
            raise Killed


class ShipperHarness:
    def __init__(self, tmp_path: Path, clock: FakeClock, *, rotate_bytes: int = 10**9, max_bytes: int = 10**9) -> None:
        self.clock = clock
        self.log = tmp_path / "usage.log"
        self.starts_log = tmp_path / "usage.log.starts"
        self.rotate_bytes, self.max_bytes = rotate_bytes, max_bytes
        self.publisher, self.gateway = FakePublisher(), FakeGateway(self.log)
        self.start_shipper()

    def start_shipper(self) -> None:
        """The first one, or one after a kill."""
        self.registry = CollectorRegistry()
        self.ends = Segments(self.log, monotonic=self.clock.monotonic)
        self.starts = Segments(self.starts_log, monotonic=self.clock.monotonic)
        self.state_file = KillableStateFile(self.log)
        self.publisher.kill_after = None
        self.shipper = Shipper(
            ends=self.ends,
            starts=self.starts,
            state_file=self.state_file,
            publisher=self.publisher,
            gateway=self.gateway,
            metrics=ShipperMetrics(self.registry),
            clock=self.clock,
            gateway_name="gw",
            rotate_bytes=self.rotate_bytes,
            max_total_bytes=self.max_bytes,
        )

    def kill(self) -> None:
        self.ends.close()
        self.starts.close()

    # --- what the gateway writes

    @property
    def now(self) -> int:
        return int(self.clock.timestamp() * 1000)

    def end(self, *ids: str, lease: str = "-", namespace: str = "team") -> None:
        rest = f'"completions",false,"{namespace}/qwen/tom/{lease}",10,20,"e",3,4'
        lines = [f'\n["E","{id_}",{self.now},0,0,200,"-",1,"127.0.0.1:9001",{rest}]\n' for id_ in ids]
        append(self.log, "".join(lines))

    def lease(self, id_: str, requests: int = 3, namespace: str = "team") -> None:
        amounts = f"{requests},{requests * 10},{requests * 20}"
        line = f'["L","{id_}",{self.now + LEASE_MILLISECONDS},{amounts},"{namespace}/qwen/tom"]\n'
        append(self.starts_log, line)

    def start(self, id_: str, lease: str) -> None:
        append(self.starts_log, f'["S","{id_}","{lease}",10,20,"completions",{self.now}]\n')

    async def pass_lease_end(self) -> None:
        self.clock.advance((LEASE_MILLISECONDS + CLOSE_MARGIN_MILLISECONDS) / 1000)
        await self.shipper.step()

    # --- what arrived

    @property
    def batches(self) -> list[UsageBatch]:
        """Each id once, as the ledger applies them: the first message counts."""
        payloads: dict[str, bytes] = {}
        for message in self.publisher.sent:
            payloads.setdefault(message.id, message.payload)
        return [decode(payload) for payload in payloads.values()]

    @property
    def shipped(self) -> list[str]:
        return [record.request_id for batch in self.batches for record in batch.records]

    @property
    def closed(self) -> list[ClosedLease]:
        return [closed for batch in self.batches for closed in batch.closed_leases]

    @property
    def started(self) -> list[StartedRequest]:
        return [started for batch in self.batches for started in batch.started]

    def metric(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)
