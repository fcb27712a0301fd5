"""The supervisor with real servers: it restarts what ends, and nothing outlives it."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path

import nats
import pytest
import pytest_asyncio

from arks.kit.testing.wait import eventually
from arks.local.files.paths import Paths
from arks.local.files.state import Phase, Service, ServiceState, State
from arks.local.files.state_file import is_running, read_state
from arks.local.programs.supervisor import ALREADY_RUNNING

SCRIPT = Path(__file__).parent / "small_supervisor.py"
NAMES = ("nats", "valkey", "parent", "web")
GONE_SECONDS = 30.0


@dataclass
class Running:
    paths: Paths
    process: "subprocess.Popen[bytes]"

    def state(self) -> State:
        state = read_state(self.paths)
        assert state is not None
        return state

    def service(self, name: str) -> Service:
        service = self.state().service(name)
        assert service is not None
        return service

    def pid(self, name: str) -> int:
        pid = self.service(name).pid
        assert pid is not None
        return pid

    def orphan(self) -> int | None:
        """None before the service has written the number of its orphan."""
        path = self.paths.run / "orphan"
        return int(text) if path.exists() and (text := path.read_text()) else None

    def all_up(self) -> bool:
        state = read_state(self.paths)
        if state is None or state.pid != self.process.pid or self.orphan() is None:
            return False
        found = [state.service(name) for name in NAMES]
        return all(service is not None and service.state == ServiceState.READY for service in found)


@pytest_asyncio.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    command = [sys.executable, str(SCRIPT), str(tmp_path)]
    process = subprocess.Popen(command, start_new_session=True)  # noqa: ASYNC220  # starting it takes no time
    running = Running(Paths.of(tmp_path), process)
    try:
        await eventually(running.all_up, what="nats, valkey and parent ready")
        yield running
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def alive(pids: Iterable[int]) -> list[int]:
    """The process ids that still run; a zombie has ended."""
    found = []
    for pid in pids:
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            continue
        if stat.rpartition(")")[2].split()[0] != "Z":
            found.append(pid)
    return found


def everything(running: Running) -> list[int]:
    orphan = running.orphan()
    assert orphan is not None
    return [*(running.pid(name) for name in NAMES), orphan]


async def none_alive(pids: list[int]) -> None:
    await eventually(lambda: not alive(pids), within_seconds=GONE_SECONDS, what="no process remaining")


@pytest.mark.real
@pytest.mark.parametrize("name", NAMES)
async def test_a_killed_program_is_restarted(running: Running, name: str) -> None:
    before = running.service(name)
    os.kill(running.pid(name), signal.SIGKILL)

    def back() -> bool:
        now = running.service(name)
        return now.state == ServiceState.READY and now.pid != before.pid

    await eventually(back, within_seconds=GONE_SECONDS, what=f"{name} back")
    assert (1, before.address) == (running.service(name).restarts, running.service(name).address)


@pytest.mark.real
async def test_a_hanging_program_is_restarted(running: Running) -> None:
    hung = running.pid("web")
    os.kill(hung, signal.SIGSTOP)
    await eventually(lambda: running.service("web").pid not in {None, hung}, within_seconds=60, what="web again")
    await none_alive([hung])


@pytest.mark.real
async def test_nats_takes_writes_again_after_one_has_failed(running: Running) -> None:
    options = {"token": running.paths.nats_token.read_text(), "max_reconnect_attempts": -1}
    client = await nats.connect(running.service("nats").address, **options)
    stream = client.jetstream(timeout=5)
    await stream.add_stream(name="s", subjects=["s"])

    async def fails() -> bool:
        try:
            await stream.publish("s", bytes(500_000))
        except (nats.errors.Error, nats.js.errors.Error):
            return True
        return False

    await eventually(fails, what="a write that fails")
    await eventually(lambda: running.service("nats").restarts == 1, what="a restart of NATS")

    async def succeeds() -> bool:
        return not await fails()

    await eventually(succeeds, what="a write that succeeds")
    await client.close()


@pytest.mark.real
async def test_a_crash_loop_shows_its_reason_and_last_lines(running: Running) -> None:
    def has_restarted() -> bool:
        service = running.service("crashing")
        return service.restarts >= 2 and service.problem == "ended with status 3"

    await eventually(has_restarted, what="a crash loop in the state")
    assert "no luck" in running.service("crashing").last_lines
    assert running.all_up()


@pytest.mark.real
async def test_no_process_outlives_a_killed_supervisor(running: Running) -> None:
    pids = everything(running)
    running.process.kill()
    await none_alive(pids)
    assert not is_running(running.paths)


@pytest.mark.real
async def test_no_process_remains_after_sigterm(running: Running) -> None:
    pids = everything(running)
    running.process.terminate()
    await none_alive([*pids, running.process.pid])
    state = running.state()
    assert Phase.STOPPED == state.phase
    assert {ServiceState.STOPPED} == {service.state for service in state.services}
    assert not is_running(running.paths)


@pytest.mark.real
async def test_a_second_signal_kills_everything_at_once(running: Running) -> None:
    pids = everything(running)
    running.process.terminate()
    running.process.send_signal(signal.SIGINT)
    await none_alive([*pids, running.process.pid])


@pytest.mark.real
async def test_a_second_supervisor_of_a_home_exits(running: Running) -> None:
    second = await asyncio.create_subprocess_exec(
        sys.executable, str(SCRIPT), str(running.paths.home), stderr=asyncio.subprocess.PIPE
    )
    await second.communicate()
    assert ALREADY_RUNNING == second.returncode
    assert running.all_up()


@pytest.mark.real
async def test_servers_reject_clients_without_their_secret(running: Running) -> None:
    connect = b'CONNECT {"verbose":false}\r\nPING\r\n'
    assert b"Authorization Violation" in await _send(running.service("nats").address, connect)
    assert b"NOAUTH" in await _send(running.service("valkey").address, b"GET x\r\nQUIT\r\n")


async def _send(address: str, request: bytes) -> bytes:
    """The answer of a server until it closes the connection."""
    host, port = address.split("//")[1].split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer
