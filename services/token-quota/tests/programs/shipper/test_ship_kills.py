"""A shipper that is killed loses and repeats nothing."""

import random
from collections import Counter
from pathlib import Path

import pytest

from arks.kit.testing.clock import FakeClock
from arks.token_quota.testing.shipper import (
    LEASE_MILLISECONDS,
    Killed,
    ShipperHarness,
)


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
