"""The ledger's database: SQLite beside the service, or PostgreSQL; connections, transactions and migrations of both.

SQLite runs in WAL mode, so that readers do not wait for the writer, with synchronous=FULL: usage is acknowledged to
the stream after its commit, so a commit has to survive a power cut. That costs one fsync for each batch of records,
not for each record. We start transactions ourselves (the driver starts them only at the first write): reads see a
single state, writers take the lock at once instead of failing half-way.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy import event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from arks.token_quota.service.ports.ledger import LedgerUnavailable

log = structlog.get_logger(__name__)

HEAD = "0002"
"""The newest revision in `migrations/versions`."""
BUSY_SECONDS = 5.0
_CLOSE_SECONDS = 3.0
_MIGRATION_LOCK = 0x41726B73
"""Number of PostgreSQL's advisory lock under which one replica migrates while the others wait."""


class Database:
    """`url` as SQLAlchemy writes it: sqlite+aiosqlite:///<path> or postgresql+asyncpg://..."""

    def __init__(self, url: str, *, connections: int = 4, timeout_seconds: float = 10.0) -> None:
        self.sqlite = url.startswith("sqlite")
        if self.sqlite:
            self._make_directory(url)
            self._engine = create_async_engine(url, pool_size=2, max_overflow=2, connect_args={"timeout": BUSY_SECONDS})
            _configure_sqlite(self._engine)
        else:
            self._engine = create_async_engine(
                url,
                pool_size=connections,
                pool_pre_ping=True,
                pool_timeout=timeout_seconds,
                connect_args={"command_timeout": timeout_seconds, "timeout": timeout_seconds},
            )

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that sees one state of the database from its first statement to its last."""
        async with self._transaction({} if self.sqlite else {"isolation_level": "REPEATABLE READ"}) as connection:
            yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        async with self._transaction({"arks_write": True}) as connection:
            yield connection

    async def migrate(self) -> None:
        """Bring the tables to HEAD. Replicas that start together wait for the first of them."""
        async with self.writing() as connection:
            await connection.run_sync(_upgrade)

    async def close(self) -> None:
        """Waits a bounded time: a connection that was cancelled twice in the middle of a statement may never close."""
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._engine.dispose()
        except TimeoutError:
            log.warning("the ledger's connections do not close", seconds=_CLOSE_SECONDS)

    @asynccontextmanager
    async def _transaction(self, options: dict[str, Any]) -> AsyncIterator[AsyncConnection]:
        try:
            async with self._engine.connect() as connection:
                if options:
                    await connection.execution_options(**options)
                async with connection.begin():
                    yield connection
        except (SQLAlchemyError, OSError, TimeoutError) as error:
            raise LedgerUnavailable(f"the ledger's database: {_driver_message(error)}") from error

    @staticmethod
    def _make_directory(url: str) -> None:
        path = sa.make_url(url).database
        if path and path != ":memory:":
            Path(path).parent.mkdir(parents=True, exist_ok=True, mode=0o700)


def _driver_message(error: BaseException) -> str:
    """The driver's message without SQLAlchemy's statement and parameters."""
    cause = getattr(error, "orig", None) or error
    return f"{type(cause).__name__}: {cause}".splitlines()[0]


def _configure_sqlite(engine: AsyncEngine) -> None:
    @event.listens_for(engine.sync_engine, "connect")
    def connect(connection: Any, _: Any) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "cache_size=-4096"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
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
