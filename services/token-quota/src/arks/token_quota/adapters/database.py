"""The ledger's database: SQLite beside the service, or PostgreSQL; connections, transactions and migrations of both.

SQLite runs in WAL mode, so that readers do not wait for the writer, with synchronous=FULL: usage is acknowledged to
the stream after its commit, so a commit has to survive a power cut. That costs one fsync for each batch of records,
not for each record. We start transactions ourselves (the driver starts them only at the first write): reads see a
single state, writers take the lock at once instead of failing half-way.

A transaction is one function of a connection. For SQLite it runs in a thread as a whole, because a switch of threads
for each call of the driver costs more than the calls: 1.5 ms of CPU for a read of one row.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

import sqlalchemy as sa
import structlog
from sqlalchemy import event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine

from arks.token_quota.service.ports.ledger import LedgerUnavailable

log = structlog.get_logger(__name__)

HEAD = "0004"
"""The newest revision in `migrations/versions`."""
BUSY_SECONDS = 5.0
_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "cache_size=-4096",
    "wal_autocheckpoint=8000",  # 32 MB: a page that many transactions change is copied once, a fifth less CPU an entry
)
_SQLITE_THREADS = 3
"""One transaction writes at a time; the others read."""
_CLOSE_SECONDS = 3.0
_MIGRATION_LOCK = 0x41726B73
"""Number of PostgreSQL's advisory lock under which one replica migrates while the others wait."""


T = TypeVar("T")
Work = Callable[[sa.Connection], T]
"""The statements of one transaction, which is rolled back if they raise."""


class _Engine(Protocol):
    async def run(self, work: Work[T], *, write: bool) -> T:
        """In one transaction."""

    async def close(self) -> None: ...


class Database:
    """`url` as SQLAlchemy writes it: sqlite:///<path> or postgresql+asyncpg://..."""

    def __init__(self, url: str, *, connections: int = 4, timeout_seconds: float = 10.0) -> None:
        self.sqlite = url.startswith("sqlite")
        self._engine: _Engine = _Sqlite(url) if self.sqlite else _PostgreSql(url, connections, timeout_seconds)

    async def read(self, work: Work[T]) -> T:
        """Run it on one state of the database, from its first statement to its last. Raises LedgerUnavailable."""
        with _translated():
            return await self._engine.run(work, write=False)

    async def write(self, work: Work[T]) -> T:
        """Raises LedgerUnavailable."""
        with _translated():
            return await self._engine.run(work, write=True)

    async def migrate(self) -> None:
        """Bring the tables to HEAD. Replicas that start together wait for the first of them."""
        await self.write(_upgrade)

    async def close(self) -> None:
        """Waits a bounded time: a connection that was cancelled twice in the middle of a statement may never close."""
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._engine.close()
        except TimeoutError:
            log.warning("the ledger's connections do not close", seconds=_CLOSE_SECONDS)


class _Sqlite:
    def __init__(self, url: str) -> None:
        address = sa.make_url(url).set(drivername="sqlite")
        _make_directory(address)
        self._engine = sa.create_engine(
            address, pool_size=_SQLITE_THREADS, max_overflow=0, connect_args={"timeout": BUSY_SECONDS}
        )
        _configure_sqlite(self._engine)
        self._threads = ThreadPoolExecutor(_SQLITE_THREADS, thread_name_prefix="ledger")

    async def run(self, work: Work[T], *, write: bool) -> T:
        """A cancelled caller does not stop the transaction; its repetition finds the work done."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._run, work, write)

    async def close(self) -> None:
        await asyncio.to_thread(self._threads.shutdown, wait=True, cancel_futures=True)
        self._engine.dispose()

    def _run(self, work: Work[T], write: bool) -> T:
        with self._engine.connect() as connection:
            connection.execution_options(arks_write=write)
            with connection.begin():
                return work(connection)


class _PostgreSql:
    def __init__(self, url: str, connections: int, timeout_seconds: float) -> None:
        self._engine = create_async_engine(
            url,
            pool_size=connections,
            pool_pre_ping=True,
            pool_timeout=timeout_seconds,
            connect_args={"command_timeout": timeout_seconds, "timeout": timeout_seconds},
        )

    async def run(self, work: Work[T], *, write: bool) -> T:
        async with self._engine.connect() as connection:
            if not write:
                await connection.execution_options(isolation_level="REPEATABLE READ")
            async with connection.begin():
                return await connection.run_sync(work)

    async def close(self) -> None:
        await self._engine.dispose()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        raise LedgerUnavailable(f"the ledger's database: {_driver_message(error)}") from error


def _make_directory(url: sa.URL) -> None:
    path = url.database
    if path and path != ":memory:":
        Path(path).parent.mkdir(parents=True, exist_ok=True, mode=0o700)


def _driver_message(error: BaseException) -> str:
    """The driver's message without SQLAlchemy's statement and parameters."""
    cause = getattr(error, "orig", None) or error
    return f"{type(cause).__name__}: {cause}".splitlines()[0]


def _configure_sqlite(engine: sa.Engine) -> None:
    @event.listens_for(engine, "connect")
    def connect(connection: Any, _: Any) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in _PRAGMAS:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        write = connection.get_execution_options().get("arks_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _upgrade(connection: sa.Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:number)"), {"number": _MIGRATION_LOCK})
    if _revision(connection) == HEAD:
        return
    from alembic import command  # noqa: PLC0415  # a few MB that a start without migrations does not pay for
    from alembic.config import Config  # noqa: PLC0415

    logging.getLogger("alembic").setLevel(logging.WARNING)
    log.info("the ledger's tables are created or updated", revision=HEAD)
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _revision(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    return found
