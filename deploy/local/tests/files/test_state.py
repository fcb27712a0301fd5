"""The state file, ports and secrets: what one start leaves for the next."""

import socket
import stat
from pathlib import Path

import pytest

from arks.local.files import credentials, state
from arks.local.files.paths import Paths
from arks.local.files.ports_file import read_ports, write_ports
from arks.local.files.state import Phase, Service, ServiceState, State
from arks.local.plan import ports


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    paths = Paths.of(tmp_path / "home")
    paths.create()
    return paths


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_state_reads_back_as_it_was_written(paths: Paths) -> None:
    services = (Service("nats", ServiceState.READY, "nats://127.0.0.1:1", 7, 1, 2.0, "was gone", ("line",)),)
    written = State(5, Phase.RUNNING, 1.5, {"nats": 1}, services)
    state.write(paths.state, state.to_json(written))
    assert written == state.read(paths)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', '{"services": [{"name": "x"}]}'])
def test_a_broken_state_file_is_as_good_as_none(paths: Paths, text: str) -> None:
    paths.state.write_text(text)
    assert state.read(paths) is None


def test_nobody_runs_without_the_lock(paths: Paths) -> None:
    state.write(paths.state, state.to_json(State(1, Phase.RUNNING, 0.0, {}, ())))
    assert not state.is_running(paths)
    assert state.running(paths) is None


def test_everything_under_home_is_its_owners_only(paths: Paths) -> None:
    credentials.create_all(paths)
    credentials.demo_key(paths)
    assert {0o700} == {mode(directory) for directory in (paths.home, paths.run, paths.logs)}
    secrets = (paths.nats_token, paths.valkey_password, paths.pepper, paths.demo_key)
    assert {0o600} == {mode(file) for file in secrets}


def test_secrets_are_made_once_and_kept(paths: Paths) -> None:
    first = credentials.demo_key(paths)
    assert first.startswith("sk-")
    assert len(first) > 40
    assert first == credentials.demo_key(paths) == paths.demo_key.read_text()


def test_a_secret_that_others_could_read_is_closed_again(paths: Paths) -> None:
    paths.demo_key.write_text("sk-mine")
    paths.demo_key.chmod(0o644)
    assert "sk-mine" == credentials.demo_key(paths)
    assert 0o600 == mode(paths.demo_key)


def test_ports_stay_the_same_while_they_are_free(paths: Paths) -> None:
    chosen = ports.choose(("a", "b"), {})
    write_ports(paths, chosen)
    assert chosen == ports.choose(("a", "b"), read_ports(paths))
    assert len(set(chosen.values())) == 2


def test_a_port_that_somebody_took_is_replaced() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert not ports.is_free(port)
        assert port != ports.choose(("a",), {"a": port})["a"]
        assert (ports.listener_of(port) or "").endswith(")")


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"nats": "x"}'])
def test_a_broken_ports_file_is_as_good_as_none(paths: Paths, text: str) -> None:
    (paths.run / "ports.json").write_text(text)
    assert {} == read_ports(paths)
