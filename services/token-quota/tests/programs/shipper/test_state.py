"""The one file that carries the shipper over a restart."""

import json
import stat
from pathlib import Path

import pytest

from arks.token_quota.domain.lease_book import BookState, Lease, Started
from arks.token_quota.programs.shipper.state import Message, Position, ShipperState, StateFile


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "usage.log"


def full_state(identity: str) -> ShipperState:
    open_requests = {"r1": Started("completions", 1000, 10, 20)}
    lease = Lease("lease1", "team", "qwen", "tom", 2000, 3, 30, 60, open_requests, ["r2"])
    return ShipperState(
        identity,
        7,
        Position(11, 100),
        Position(12, 200),
        BookState([lease], {"team": 2000}),
        [Message("arks.usage.team", "id-7-team.0", b"\x00{}", 2)],
    )


def test_without_a_file_the_state_is_empty_with_an_identity_of_its_own(log: Path) -> None:
    first, second = StateFile(log).load(), StateFile(log).load()
    assert ShipperState(first.identity) == first
    assert first.identity != second.identity
    assert len(first.identity) >= 16


def test_what_is_saved_is_loaded_with_a_new_identity(log: Path) -> None:
    # An older file may come back after a power cut, so no start uses the ids of another.
    StateFile(log).save(full_state("before"))
    first, second = StateFile(log).load(), StateFile(log).load()
    assert full_state(first.identity) == first
    assert 3 == len({"before", first.identity, second.identity})


def test_only_its_owner_can_read_the_file(log: Path) -> None:
    StateFile(log).save(ShipperState("a"))
    (file,) = log.parent.iterdir()
    assert ("usage.log.state", 0o600) == (file.name, stat.S_IMODE(file.stat().st_mode))


@pytest.mark.parametrize("content", [b"", b"\xc1", b"{}", b"\x80"])
def test_a_damaged_file_is_put_aside_and_a_new_identity_made(log: Path, content: bytes) -> None:
    file = log.with_name("usage.log.state")
    file.write_bytes(content)
    state = StateFile(log).load()
    assert ShipperState(state.identity) == state
    assert [content] == [path.read_bytes() for path in log.parent.iterdir()]
    assert not file.exists()


def test_a_file_that_was_cut_off_is_put_aside(log: Path) -> None:
    file = log.with_name("usage.log.state")
    StateFile(log).save(full_state("before"))
    file.write_bytes(file.read_bytes()[:-5])
    assert "before" != StateFile(log).load().identity


def test_the_position_of_version_0_1_is_taken_over(log: Path) -> None:
    log.with_name("usage.log.position").write_text(json.dumps({"inode": 5, "offsetBytes": 77}))
    state = StateFile(log).load()
    assert (Position(5, 77), None) == (state.ends, state.starts)


@pytest.mark.parametrize("position", ["", "{", '{"inode": "x"}', "[]", '{"inode": 1}', "null"])
def test_a_damaged_position_of_version_0_1_ships_the_log_again(log: Path, position: str) -> None:
    log.with_name("usage.log.position").write_text(position)
    assert StateFile(log).load().ends is None
