"""The loop on real files, with NATS and Envoy replaced. Killed shippers: a new one is built on the same directory."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from arks.kit.backoff import Backoff
from arks.kit.errors import Unavailable
from arks.kit.testing.clock import FakeClock
from arks.kit.testing.wait import eventually
from arks.token_quota.domain import lease_book
from arks.token_quota.domain.batch import ClosedLease, StartedRequest, UsageBatch
from arks.token_quota.domain.lease_book import CLOSE_MARGIN_MILLISECONDS, HEARTBEAT_MILLISECONDS, QUIET_MILLISECONDS
from arks.token_quota.domain.wire import decode
from arks.token_quota.programs.shipper import ship
from arks.token_quota.programs.shipper.segments import SETTLE_SECONDS, Segments
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
        return int(self.clock.now().timestamp() * 1000)

    def end(self, *ids: str, lease: str = "-", namespace: str = "team") -> None:
        seconds = f"{self.now // 1000}.{self.now % 1000:03}"
        rest = f"completions\t0\t{namespace}/qwen/tom/{lease}/10/20\te,3,4"
        lines = [f"\n2\t{id_}\t{seconds}\t0\t0\t200\t-\t127.0.0.1:9001\t{rest}\t.\n" for id_ in ids]
        append(self.log, "".join(lines))

    def lease(self, id_: str, requests: int = 3, namespace: str = "team") -> None:
        amounts = f"{requests}\t{requests * 10}\t{requests * 20}"
        append(self.starts_log, f"L\t{id_}\t{self.now + LEASE_MILLISECONDS}\t{amounts}\t{namespace}/qwen/tom\n")

    def start(self, id_: str, lease: str) -> None:
        append(self.starts_log, f"S\t{id_}\t{lease}\t10\t20\tcompletions\t{self.now}\n")

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


@pytest.fixture
def harness(tmp_path: Path, clock: FakeClock) -> ShipperHarness:
    return ShipperHarness(tmp_path, clock)


@pytest.fixture(autouse=True)
def short_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ship, "BACKOFF", Backoff(0.0, 0.0))


# --- records


async def test_each_line_becomes_a_record_in_the_batch_of_its_namespace(harness: ShipperHarness) -> None:
    harness.end("r1", "r2")
    harness.end("r3", namespace="other")
    await harness.shipper.step()
    found = {batch.namespace: [record.request_id for record in batch.records] for batch in harness.batches}
    assert {"team": ["r1", "r2"], "other": ["r3"]} == found
    assert ["arks.usage.team", "arks.usage.other"] == [message.subject for message in harness.publisher.sent]
    assert ["gw", "gw"] == [batch.gateway for batch in harness.batches]
    assert all(message.id == decode(message.payload).id for message in harness.publisher.sent)
    await harness.shipper.step()
    assert 2 == len(harness.publisher.sent)


async def test_bad_lines_are_counted_and_the_others_shipped(harness: ShipperHarness) -> None:
    harness.end("r1")
    append(harness.log, "garbage\n\n")
    harness.end("r2")
    with harness.log.open("ab") as file:
        file.write(b"\xff\xfe\t\n")
    append(harness.starts_log, "X\tgarbage\n")
    await harness.shipper.step()
    assert ["r1", "r2"] == harness.shipped
    for column in ("number of columns", "encoding", "kind of start"):
        assert 1 == harness.metric("arks_shipper_bad_lines_total", column=column)


@pytest.mark.parametrize("start", ["inf", "1e400", "nan", "-1", "yesterday"])
async def test_a_last_line_with_a_damaged_time_stops_nothing(harness: ShipperHarness, start: str) -> None:
    harness.end("r1")
    append(harness.log, f"r2\t{start}\t5\t0\t200\t-\t-\tcompletions\t0\tteam/qwen/tom/-/1/2\te,3,4\n")
    await harness.shipper.step()
    assert ["r1"] == harness.shipped


async def test_what_nats_did_not_take_is_sent_again_with_the_same_ids_until_it_does(harness: ShipperHarness) -> None:
    harness.publisher.away = 3
    for number in range(5):
        harness.end(f"r{number}", namespace=f"team{number}")
    await harness.shipper.step()
    assert [f"r{number}" for number in range(5)] == harness.shipped
    assert 5 == len({message.id for message in harness.publisher.sent})
    assert (3, 5) == (harness.metric("arks_shipper_retries_total"), harness.metric("arks_shipper_records_total"))


async def test_large_flushes_are_split_and_only_the_last_part_carries_the_time(
    harness: ShipperHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_book, "BATCH_RECORDS", 2)
    harness.lease("lease1")
    await harness.pass_lease_end()
    harness.publisher.sent.clear()
    harness.end(*(f"r{number}" for number in range(5)))
    await harness.shipper.step()
    assert [2, 2, 1] == [len(batch.records) for batch in harness.batches]
    until = harness.now - CLOSE_MARGIN_MILLISECONDS
    assert [0, 0, until] == [batch.complete_until_milliseconds for batch in harness.batches]


async def test_the_last_part_waits_for_the_acknowledgement_of_the_others(
    harness: ShipperHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_book, "BATCH_RECORDS", 1)
    harness.publisher.away = 2
    harness.end("r1", "r2", "r3", "r4")
    await harness.shipper.step()
    assert ["r1", "r2", "r3", "r4"] == harness.shipped
    assert harness.publisher.sent[-1].id.endswith(".3")
    assert 1 == sum(message.id.endswith(".3") for message in harness.publisher.sent)


# --- leases


async def test_a_lease_is_closed_once_with_what_no_request_took(harness: ShipperHarness) -> None:
    harness.lease("lease1", 3)
    harness.start("r1", "lease1")
    harness.end("r1", lease="lease1")
    await harness.shipper.step()
    assert [] == harness.closed
    harness.clock.advance((LEASE_MILLISECONDS + CLOSE_MARGIN_MILLISECONDS - 1) / 1000)
    await harness.shipper.step()
    assert [] == harness.closed
    harness.clock.advance(0.001)
    await harness.shipper.step()
    assert [ClosedLease("lease1", 2, 20, 40)] == harness.closed
    assert [] == harness.started
    await harness.pass_lease_end()
    assert 1 == len(harness.closed)


async def test_a_request_in_flight_at_the_closing_is_reported_once_and_its_record_is_marked(
    harness: ShipperHarness,
) -> None:
    harness.lease("lease1", 3)
    harness.start("r1", "lease1")
    started_at = harness.now
    await harness.pass_lease_end()
    assert [StartedRequest("r1", "tom", "qwen", "completions", "lease1", started_at, 10, 20)] == harness.started
    harness.end("r1", lease="lease1")
    await harness.pass_lease_end()
    (record,) = [record for batch in harness.batches for record in batch.records]
    assert ("r1", True, 1) == (record.request_id, record.was_reported_started, len(harness.started))


async def test_a_request_that_ended_in_its_lease_is_not_reported_as_started(harness: ShipperHarness) -> None:
    harness.lease("lease1")
    harness.start("r1", "lease1")
    harness.end("r1", lease="lease1")
    await harness.pass_lease_end()
    (record,) = [record for batch in harness.batches for record in batch.records]
    assert (False, []) == (record.was_reported_started, harness.started)


async def test_a_start_with_a_time_in_the_future_does_not_hide_later_starts(harness: ShipperHarness) -> None:
    harness.lease("lease1", 3)
    append(harness.starts_log, f"S\tr1\tlease1\t10\t20\tcompletions\t{harness.now + 10**9}\n")
    await harness.shipper.step()
    harness.start("r2", "lease1")
    await harness.pass_lease_end()
    assert [ClosedLease("lease1", 1, 10, 20)] == harness.closed


async def test_heartbeats_follow_the_last_lease_until_lost_ones_have_returned(harness: ShipperHarness) -> None:
    harness.lease("lease1")
    end = harness.now + LEASE_MILLISECONDS
    await harness.pass_lease_end()
    for _ in range(80):
        harness.clock.advance(1.0)
        await harness.shipper.step()
    times = [batch.complete_until_milliseconds for batch in harness.batches]
    assert times == sorted(times)
    assert all(after - before <= HEARTBEAT_MILLISECONDS for before, after in pairwise(times))
    assert end + QUIET_MILLISECONDS < times[-1] <= end + QUIET_MILLISECONDS + HEARTBEAT_MILLISECONDS


# --- kills


async def test_a_shipper_killed_before_the_acknowledgement_publishes_the_same_bytes_again(
    harness: ShipperHarness,
) -> None:
    harness.end("r1", "r2")
    harness.publisher.kill_after = 1
    with pytest.raises(Killed):
        await harness.shipper.step()
    harness.kill()
    harness.end("r3")
    harness.start_shipper()
    await harness.shipper.step()
    first, again, later = harness.publisher.sent
    assert first == again
    assert later.id != first.id
    assert ["r1", "r2", "r3"] == harness.shipped


async def test_an_older_state_repeats_requests_but_no_id(harness: ShipperHarness) -> None:
    harness.end("r1")
    await harness.shipper.step()
    state = harness.log.with_name("usage.log.state")
    older = state.read_bytes()
    harness.end("r2")
    await harness.shipper.step()
    harness.kill()
    state.write_bytes(older)
    harness.end("r3")
    harness.start_shipper()
    await harness.shipper.step()
    assert {"r1", "r2", "r3"} == set(harness.shipped)


async def test_what_could_not_be_saved_is_saved_before_it_is_published(harness: ShipperHarness) -> None:
    harness.end("r1")
    harness.state_file.kill = "before"
    with pytest.raises(Killed):
        await harness.shipper.step()
    assert [] == harness.publisher.sent
    harness.state_file.kill = ""
    await harness.shipper.finish(5.0)
    assert ["r1"] == harness.shipped


@pytest.mark.parametrize("seed", range(12))
async def test_kills_at_any_point_lose_and_repeat_nothing(tmp_path: Path, clock: FakeClock, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311
    harness = ShipperHarness(tmp_path, clock, rotate_bytes=4000)
    running: dict[str, str] = {}
    live: dict[str, tuple[int, int]] = {}
    requests = leases = kills = 0
    taken: Counter[str] = Counter()
    granted: dict[str, int] = {}
    for _ in range(150):
        for _ in range(chance.randrange(6)):
            live = {id_: (end, room) for id_, (end, room) in live.items() if end > harness.now and room}
            if not live or chance.random() < 0.1:
                leases += 1
                granted[f"lease{leases}"] = size = chance.randrange(1, 8)
                harness.lease(f"lease{leases}", size)
                live[f"lease{leases}"] = (harness.now + LEASE_MILLISECONDS, size)
            lease = chance.choice(list(live))
            requests += 1
            harness.start(f"r{requests}", lease)
            running[f"r{requests}"] = lease
            taken[lease] += 1
            live[lease] = (live[lease][0], live[lease][1] - 1)
        for id_ in chance.sample(list(running), min(len(running), chance.randrange(6))):
            harness.end(id_, lease=running.pop(id_))
        clock.advance(chance.choice([0.0, 0.1, 0.1, 0.5, 2.0]))
        kind = chance.choice(["", "", "before", "after", "publishing"])
        harness.state_file.kill = kind if kind != "publishing" else ""
        harness.publisher.kill_after = chance.randrange(2) if kind == "publishing" else None
        try:
            await harness.shipper.step()
        except Killed:
            kills += 1
            harness.kill()
            harness.start_shipper()
        harness.state_file.kill, harness.publisher.kill_after = "", None
    in_flight = set(running)
    for _ in range(20):
        clock.advance(1.0)
        await harness.shipper.step()
    ended = {f"r{number}" for number in range(1, requests + 1)} - in_flight
    assert kills > 20
    assert Counter(ended) == Counter(harness.shipped)
    assert sorted(granted) == sorted(closed.lease for closed in harness.closed)
    assert {id_: size - taken[id_] for id_, size in granted.items()} == {
        closed.lease: closed.unused_requests for closed in harness.closed
    }
    reported = [started.request_id for started in harness.started]
    assert len(reported) == len(set(reported))
    marked = {r.request_id for batch in harness.batches for r in batch.records if r.was_reported_started}
    assert marked | in_flight == set(reported)
    payloads: dict[str, set[bytes]] = {}
    for message in harness.publisher.sent:
        payloads.setdefault(message.id, set()).add(message.payload)
    assert all(1 == len(found) for found in payloads.values())
    harness.kill()


# --- disk


async def test_long_logs_are_rotated_drained_and_deleted(tmp_path: Path, clock: FakeClock) -> None:
    harness = ShipperHarness(tmp_path, clock, rotate_bytes=150)
    harness.lease("lease1", 10)
    for number in range(4):
        harness.start(f"r{number}", "lease1")
        harness.end(f"r{number}", lease="lease1")
    await harness.shipper.step()
    assert (1, 2) == (harness.gateway.requested, harness.metric("arks_shipper_rotations_total"))
    harness.start("r4", "lease1")
    harness.end("r4", lease="lease1")
    for _ in range(5):
        await harness.shipper.step()
        clock.advance(1.0)
    assert [f"r{number}" for number in range(5)] == harness.shipped
    assert [ClosedLease("lease1", 5, 50, 100)] == harness.closed
    assert ([harness.log], [harness.starts_log]) == (harness.ends.all(), harness.starts.all())


@pytest.mark.parametrize("kill", ["before", "after"])
async def test_a_rotated_log_is_deleted_only_after_the_state_moved_past_it(
    tmp_path: Path, clock: FakeClock, kill: str
) -> None:
    harness = ShipperHarness(tmp_path, clock, rotate_bytes=50)
    harness.end("r0")
    await harness.shipper.step()
    await harness.shipper.step()
    aside = harness.log.with_name("usage.log.1")
    harness.end("r1")
    clock.advance(SETTLE_SECONDS)
    harness.state_file.kill = kill
    with pytest.raises(Killed):
        await harness.shipper.step()
    harness.kill()
    assert aside.exists()
    assert (kill == "before") == (inode_of_ends(harness) == aside.stat().st_ino)
    harness.start_shipper()
    for _ in range(4):
        await harness.shipper.step()
        clock.advance(SETTLE_SECONDS)
    assert ["r0", "r1"] == harness.shipped
    assert not aside.exists()


def inode_of_ends(harness: ShipperHarness) -> int:
    """The file in which a new shipper would go on."""
    position = StateFile(harness.log).load().ends
    assert position is not None
    return position.inode


async def test_a_dropped_log_is_deleted_only_after_the_state_moved_past_it(tmp_path: Path, clock: FakeClock) -> None:
    harness = ShipperHarness(tmp_path, clock)
    harness.end("r0")
    await harness.shipper.step()
    harness.ends.rotate()
    harness.end("r1")
    harness.kill()
    harness.max_bytes = harness.log.stat().st_size
    harness.start_shipper()
    harness.state_file.kill = "before"
    with pytest.raises(Killed):
        await harness.shipper.step()
    assert harness.log.with_name("usage.log.1").exists()
    harness.kill()
    harness.start_shipper()
    await harness.shipper.step()
    assert ["r0", "r1"] == harness.shipped
    assert not harness.log.with_name("usage.log.1").exists()


async def test_reopening_is_retried_until_envoy_answers(tmp_path: Path, clock: FakeClock) -> None:
    harness = ShipperHarness(tmp_path, clock, rotate_bytes=50)
    harness.gateway.down = True
    harness.end("r0")
    await harness.shipper.step()
    harness.gateway.down = False
    clock.advance(1.0)
    await harness.shipper.step()
    assert 2 == harness.gateway.requested
    assert harness.log.exists()


async def test_beyond_its_bound_the_oldest_log_is_dropped_and_counted(tmp_path: Path, clock: FakeClock) -> None:
    harness = ShipperHarness(tmp_path, clock, max_bytes=200)
    for number in range(3):
        harness.end(f"r{number}")
        harness.ends.rotate()
    harness.log.touch()
    size = harness.ends.total_bytes() // 3
    await harness.shipper.step()
    assert ["r1"] == harness.shipped[:1]
    assert size == harness.metric("arks_shipper_dropped_bytes_total")


async def test_the_bound_holds_for_both_files_together(tmp_path: Path, clock: FakeClock) -> None:
    harness = ShipperHarness(tmp_path, clock)
    for number in range(3):
        harness.end(f"r{number}")
        harness.ends.rotate()
        harness.lease(f"lease{number}")
        harness.starts.rotate()
    harness.log.touch()
    harness.starts_log.touch()
    harness.max_bytes = harness.ends.total_bytes() * 2 // 3 + harness.starts.total_bytes()
    harness.start_shipper()
    await harness.shipper.step()
    assert ["usage.log.2", "usage.log.3", "usage.log"] == [path.name for path in harness.ends.all()]
    assert 4 == len(harness.starts.all())
    assert 0 < (harness.metric("arks_shipper_dropped_bytes_total") or 0)
    assert harness.ends.total_bytes() + harness.starts.total_bytes() <= harness.max_bytes


async def test_lag_is_measured_in_bytes_of_both_files(harness: ShipperHarness) -> None:
    harness.end("r1")
    harness.lease("lease1")
    written = harness.log.stat().st_size + harness.starts_log.stat().st_size
    assert written == harness.metric("arks_shipper_lag_bytes")
    await harness.shipper.step()
    assert 0 == harness.metric("arks_shipper_lag_bytes")


# --- the end


async def test_what_is_in_the_log_at_the_end_is_still_shipped(harness: ShipperHarness) -> None:
    harness.end("r0", "r1")
    running = asyncio.create_task(harness.shipper.run())
    await asyncio.wait_for(harness.publisher.called.wait(), 30)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    harness.end("late")
    await harness.shipper.finish(5.0)
    assert ["r0", "r1", "late"] == harness.shipped


@pytest.mark.parametrize("lives", [True, False])
async def test_the_end_closes_leases_only_when_envoy_has_ended(harness: ShipperHarness, lives: bool) -> None:
    harness.gateway.down = not lives
    harness.lease("lease1", 3)
    harness.start("r1", "lease1")
    await harness.shipper.finish(5.0)
    assert ([] if lives else [ClosedLease("lease1", 2, 20, 40)]) == harness.closed
    assert ([] if lives else ["r1"]) == [started.request_id for started in harness.started]
    if lives:
        harness.start_shipper()
        await harness.pass_lease_end()
        assert [ClosedLease("lease1", 2, 20, 40)] == harness.closed


async def test_the_end_publishes_what_waited_for_nats_before_it_closes_leases(harness: ShipperHarness) -> None:
    harness.publisher.dead = True
    for number in range(3):
        harness.end(f"r{number}", namespace=f"team{number}")
    harness.lease("lease1", 3)
    running = asyncio.create_task(harness.shipper.run())
    await asyncio.wait_for(harness.publisher.called.wait(), 30)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    harness.publisher.dead = False
    harness.gateway.down = True
    await harness.shipper.finish(5.0)
    assert ["r0", "r1", "r2"] == harness.shipped
    assert ["lease1"] == [closed.lease for closed in harness.closed]


async def test_the_end_waits_for_a_segment_that_was_put_aside_just_now(
    harness: ShipperHarness, clock: FakeClock
) -> None:
    harness.end("r1")
    harness.ends.rotate()
    harness.end("r2")
    finishing = asyncio.create_task(harness.shipper.finish(5.0))

    def done() -> bool:
        clock.advance(0.5)
        return finishing.done()

    await eventually(done, within_seconds=4.0, what="the end")
    assert ["r1", "r2"] == harness.shipped


async def test_the_end_does_not_wait_for_a_nats_that_stays_away(harness: ShipperHarness) -> None:
    harness.publisher.dead = True
    for number in range(3):
        harness.end(f"r{number}", namespace=f"team{number}")
    await asyncio.wait_for(harness.shipper.finish(0.05), 30)
    assert [] == harness.shipped
