import json

import pytest

from arks.local.files.paths import Paths
from arks.local.files.state import Phase, Service, ServiceState, State
from arks.local.files.state_file import is_running, read_state, state_if_running, write_state


def test_a_state_reads_back_as_it_was_written(paths: Paths) -> None:
    services = (Service("nats", ServiceState.READY, "nats://127.0.0.1:1", 7, 1, 2.0, "has ended", ("line",)),)
    written = State(5, Phase.RUNNING, 1.5, {"nats": 1}, services)
    write_state(paths, written)
    assert written == read_state(paths)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', '{"services": [{"name": "x"}]}'])
def test_a_broken_state_file_counts_as_none(paths: Paths, text: str) -> None:
    paths.state.write_text(text)
    assert read_state(paths) is None


def test_a_state_of_a_later_version_is_read_without_the_fields_that_are_new(paths: Paths) -> None:
    written = State(5, Phase.RUNNING, 1.5, {"nats": 1}, (Service("nats", ServiceState.READY, "nats://127.0.0.1:1"),))
    write_state(paths, written)
    later = json.loads(paths.state.read_text())
    later["new"] = later["services"][0]["new"] = 1
    paths.state.write_text(json.dumps(later))
    assert written == read_state(paths)


def test_without_the_lock_no_supervisor_runs(paths: Paths) -> None:
    write_state(paths, State(1, Phase.RUNNING, 0.0, {}, ()))
    assert not is_running(paths)
    assert state_if_running(paths) is None
