"""The supervisor with real servers: what dies comes back, and nothing outlives it."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from arks.kit.testing.wait import eventually
from arks.local.files.paths import Paths
from arks.local.files.state import Phase, Service, ServiceState, State, is_running, read
from arks.local.programs.supervisor import ALREADY_RUNNING
from arks.local.supervisor.unit import Timing, restart_delay_seconds

SCRIPT = Path(__file__).parent / "small_supervisor.py"
NAMES = ("nats", "valkey", "parent", "web")
GONE_SECONDS = 30.0


def test_the_first_restart_comes_at_once_and_later_ones_wait_longer_and_longer() -> None:
    timing = Timing(first_delay_seconds=0.2, longest_delay_seconds=10)
    assert [0, 0.2, 0.4, 0.8] == [restart_delay_seconds(failures, timing) for failures in (1, 2, 3, 4)]
    assert 10 == restart_delay_seconds(1000, timing)


@dataclass
class Running:
    paths: Paths
    process: "subprocess.Popen[bytes]"

    def state(self) -> State:
        state = read(self.paths)
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

    def orphan(self) -> int:
        return int((self.paths.run / "orphan").read_text())

    def all_up(self) -> bool:
        state = read(self.paths)
        if state is None or state.pid != self.process.pid or not (self.paths.run / "orphan").exists():
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
    """Those that run; a zombie has ended."""
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
    return [*(running.pid(name) for name in NAMES), running.orphan()]


async def none_alive(pids: list[int]) -> None:
    await eventually(lambda: not alive(pids), within_seconds=GONE_SECONDS, what="nothing left")


@pytest.mark.real
@pytest.mark.parametrize("name", NAMES)
async def test_what_is_killed_comes_back(running: Running, name: str) -> None:
    before = running.service(name)
    os.kill(running.pid(name), signal.SIGKILL)

    def back() -> bool:
        now = running.service(name)
        return now.state == ServiceState.READY and now.pid != before.pid

    await eventually(back, within_seconds=GONE_SECONDS, what=f"{name} back")
    assert (1, before.address) == (running.service(name).restarts, running.service(name).address)


@pytest.mark.real
async def test_what_hangs_is_started_again(running: Running) -> None:
    hung = running.pid("web")
    os.kill(hung, signal.SIGSTOP)
    await eventually(lambda: running.service("web").pid not in {None, hung}, within_seconds=60, what="web again")
    await none_alive([hung])


@pytest.mark.real
async def test_what_cannot_start_says_why(running: Running) -> None:
    def tells() -> bool:
        service = running.service("crashing")
        return service.restarts >= 2 and service.problem == "ended with status 3"

    await eventually(tells, what="a crash loop told")
    assert "no luck" in running.service("crashing").last_lines
    assert running.all_up()


@pytest.mark.real
async def test_nothing_outlives_a_killed_supervisor(running: Running) -> None:
    pids = everything(running)
    running.process.kill()
    await none_alive(pids)
    assert not is_running(running.paths)


@pytest.mark.real
async def test_nothing_is_left_after_the_end(running: Running) -> None:
    pids = everything(running)
    running.process.terminate()
    await none_alive([*pids, running.process.pid])
    state = running.state()
    assert Phase.STOPPED == state.phase
    assert {ServiceState.STOPPED} == {service.state for service in state.services}
    assert not is_running(running.paths)


@pytest.mark.real
async def test_a_second_signal_ends_everything_at_once(running: Running) -> None:
    pids = everything(running)
    running.process.terminate()
    running.process.send_signal(signal.SIGINT)
    await none_alive([*pids, running.process.pid])


@pytest.mark.real
async def test_there_is_one_supervisor_for_a_home(running: Running) -> None:
    second = await asyncio.create_subprocess_exec(
        sys.executable, str(SCRIPT), str(running.paths.home), stderr=asyncio.subprocess.PIPE
    )
    await second.communicate()
    assert ALREADY_RUNNING == second.returncode
    assert running.all_up()


@pytest.mark.real
async def test_servers_ask_for_their_secret(running: Running) -> None:
    connect = b'CONNECT {"verbose":false}\r\nPING\r\n'
    assert b"Authorization Violation" in await _ask(running.service("nats").address, connect)
    assert b"NOAUTH" in await _ask(running.service("valkey").address, b"GET x\r\nQUIT\r\n")


async def _ask(address: str, words: bytes) -> bytes:
    """What a server says to these words until it ends the connection."""
    host, port = address.split("//")[1].split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(words)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer
