"""The simulated engine and its load."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import asdict

import pytest
import pytest_asyncio

from arks.kit.ports import free_port
from arks.metrics.domain.engines import reader_of
from bench.routing.engine import TOKENS, Connection, Replica, Spec
from bench.routing.load import Load, run
from bench.routing.report import first_token_seconds, line


def replica(runtime: str = "vllm") -> Replica:
    return Replica(Spec(free_port(), slots=2, seconds=0.1, first_seconds=0.03, runtime=runtime), number=0)


class Waited(deque[Connection]):
    """Counts the requests that had to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.waits = 0

    def append(self, connection: Connection) -> None:
        self.waits += 1
        super().append(connection)


@pytest_asyncio.fixture
async def running() -> AsyncIterator[Replica]:
    found = replica()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(found), "127.0.0.1", found.spec.port)
    async with server:
        yield found


@pytest.mark.parametrize("runtime", ["vllm", "llamacpp"])
def test_its_page_is_one_that_metrics_reads(runtime: str) -> None:
    simulated = replica(runtime)
    simulated.running, simulated.tokens = 2, 30
    reader = reader_of(runtime)
    assert reader is not None
    snapshot = reader.read(simulated.page().encode())
    assert (
        *(snapshot.problem, snapshot.running_requests, snapshot.waiting_requests),
        snapshot.generation_tokens,
    ) == ("", 2, 0, 30)


def test_a_frozen_page_stays() -> None:
    simulated = replica()
    simulated.control({"lie": "frozen"})
    simulated.running = 2
    assert 'num_requests_running{engine="0",model_name="chat"} 0.0' in simulated.page()


async def test_a_request_waits_for_a_slot_and_its_time_counts_from_when_it_was_due(running: Replica) -> None:
    running.waiting = waited = Waited()
    records = await run([running.spec.port], Load("", rate=1000, seconds=0.0025, arrivals="even", seed=0))
    times = sorted(first_token_seconds([asdict(record) for record in records]))
    assert len(times) == 3
    assert times[2] > 0.1  # sent late on a busy machine, it finds a slot, and its time has begun all the same
    assert waited.waits <= 1
    assert (running.finished, running.tokens) == (3, 3 * TOKENS)
    assert {200} == {record.status for record in records}


def test_a_prefix_is_in_the_cache_until_enough_others_were_used() -> None:
    simulated = Replica(Spec(free_port(), slots=2, seconds=0.1, first_seconds=0.03, cached=2), number=0)
    used = [simulated.use(prefix) for prefix in (1, 2, 1, 3, 1, 2, None)]
    assert used == [False, False, True, False, True, False, True]


def test_each_prefix_has_a_key_of_its_own() -> None:
    load = Load("", rate=100, seconds=1, arrivals="even", seed=1, prefixes=2)
    requests = {next(found) for found in [load.requests()] for _ in range(100)}
    assert (len(requests), all(b"bench-key: " in request for request in requests)) == (2, True)


def test_poisson_arrivals_have_their_rate() -> None:
    load = Load("", rate=100, seconds=100, arrivals="poisson", seed=1)
    assert 9_700 < len(list(load.times())) < 10_300


def test_a_line_has_goodput_and_shares() -> None:
    answered = {"due": 0.0, "sent": 0.0, "first": 0.02, "gap": 0.01, "status": 200, "replica": 1}
    failed = answered | {"first": None, "status": 0, "replica": -1}
    assert line("x", [answered, failed], 2).split() == ["x", "20", "20", "10", "0.500", "1", "0.0", "0.0", "100.0"]
