"""CPU of one usage record on its way from the gateway's log into the ledger, step by step.

    python -m bench.usage [batches]

Each step runs by itself, in this process, with the same records: requests of 20 tokens, 150 a batch, as a gateway
with 1,500 requests/s flushes them. Not in it: files, NATS, counters. `bench.gateway` measures all processes together.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Final, TypeVar

import sqlalchemy as sa

from arks.token_quota.adapters.database import Database
from arks.token_quota.adapters.ledger import SqlLedger
from arks.token_quota.domain import wire
from arks.token_quota.domain.batch import UsageBatch
from arks.token_quota.domain.lease_book import LeaseBook
from arks.token_quota.domain.line_reader import ENDS, STARTS
from arks.token_quota.domain.lines import StartLine
from arks.token_quota.domain.posting import post, sums_by_minute
from arks.token_quota.domain.time import Moment
from bench.gateway.postgresql import postgresql
from bench.process_cost import cpu_seconds

T = TypeVar("T")

RECORDS: Final = 150
TOKENS: Final = 20
FLUSH_MILLISECONDS: Final = 100
LEASE_MILLISECONDS: Final = 1000
BEGIN_MILLISECONDS: Final = 1_795_254_321_000


class Step:
    """CPU time of one step, over all batches."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.seconds = 0.0

    def __call__(self, work: Callable[[], T]) -> T:
        before = time.process_time()
        try:
            return work()
        finally:
            self.seconds += time.process_time() - before

    def show(self, records: int) -> None:
        print(f"{self.name:34} {self.seconds / records * 1e6:6.1f} us a record", flush=True)


def lines(number: int) -> tuple[bytes, bytes]:
    """The starts and the ends of one flush. Request ids rise with time, as those of the filter do."""
    now = BEGIN_MILLISECONDS + number * FLUSH_MILLISECONDS
    second = now // LEASE_MILLISECONDS
    starts, ends = [], []
    if now % LEASE_MILLISECONDS == 0:
        end = now + LEASE_MILLISECONDS
        starts += [f'["L","l{second}.{at}",{end},999,99999,99999,"team/qwen/token-{at}"]' for at in range(TOKENS)]
    for at in range(RECORDS):
        id_, token = f"{now:08x}-{number % 65536:04x}-7000-8000-{at:012x}", at % TOKENS
        lease = f"l{second}.{token}"
        starts.append(f'["S","{id_}","{lease}",100,200,"chat.completions",{now}]')
        answer = '53,41,200,"-",1,"127.0.0.1:9001","chat.completions",false'
        grant = f'"team/qwen/token-{token}/{lease}",100,200'
        ends.append(f'["E","{id_}",{now},{answer},{grant},"e",{at % 97},{at % 31}]')
    return "\n".join([*starts, ""]).encode(), "\n".join([*ends, ""]).encode()


def shipped(batches: int) -> tuple[list[UsageBatch], list[Step]]:
    """What token-quota reads of so many flushes, and what the steps up to there cost."""
    join, to_json, from_json = Step("shipper: parse and join lines"), Step("shipper: encode"), Step("decode")
    book, found = LeaseBook(), []
    for number in range(batches):
        until = BEGIN_MILLISECONDS + number * FLUSH_MILLISECONDS
        for batch in join(partial(_joined, book, lines(number), number, until)):
            payload = to_json(partial(wire.encode, batch))
            found.append(from_json(partial(wire.decode, payload)))
    return found, [join, to_json, from_json]


def _joined(book: LeaseBook, written: tuple[bytes, bytes], number: int, until: int) -> list[UsageBatch]:
    for start in STARTS.read(written[0]).lines:
        if isinstance(start, StartLine):
            book.add_start(start)
        else:
            book.add_lease(start)
    for end in ENDS.read(written[1]).lines:
        book.add_end(end)
    book.close(until)
    return book.batches(f"bench-{number}", "gateway", until)


def posting(batches: Sequence[UsageBatch]) -> Step:
    step = Step("decide entries, sums and changes")
    for batch in batches:
        step(partial(_decided, batch))
    return step


def _decided(batch: UsageBatch) -> None:
    sums_by_minute(post(batch, lambda *_: "quota", {}).entries)


async def ledger(name: str, url: str, batches: Sequence[UsageBatch]) -> Step:
    """With what is decided: the transaction as a whole. PostgreSQL's own processes count too."""
    database, step = Database(url), Step(f"{name}: post, decisions included")
    await database.migrate()
    sql, numbers = SqlLedger(database), count()
    before = time.process_time() + await _server_seconds(database)
    for batch in batches:
        now = Moment(BEGIN_MILLISECONDS + next(numbers) * FLUSH_MILLISECONDS)
        await sql.post([batch], lambda *_: "quota", now)
    step.seconds = time.process_time() + await _server_seconds(database) - before
    await database.close()
    return step


async def _server_seconds(database: Database) -> float:
    """CPU so far of the server's process behind the connection that `database` uses; 0 for SQLite."""
    if database.sqlite:
        return 0.0
    pid = await database.read(lambda connection: connection.execute(sa.text("SELECT pg_backend_pid()")).scalar_one())
    return cpu_seconds(pid)


async def main(batches: int) -> None:
    found, steps = shipped(batches)
    records = sum(len(batch.records) for batch in found)
    print(f"{records} records in {len(found)} batches", flush=True)
    for step in (*steps, posting(found)):
        step.show(records)
    with tempfile.TemporaryDirectory() as directory:
        (await ledger("SQLite", f"sqlite:///{directory}/ledger.db", found)).show(records)
        with postgresql(Path(directory) / "postgresql") as server:
            (await ledger("PostgreSQL", server.url, found)).show(records)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 800))
