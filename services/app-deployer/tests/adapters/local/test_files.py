import json
from dataclasses import replace
from pathlib import Path

from arks.app_deployer.adapters.local.files import Directory, EngineDirectories, Launch, ReadyMark
from arks.kit.key import Key

LAUNCH = Launch(["engine"], 1, 2, 100, 1.0, 9000, "abc", "model", 4, 0, 0, 10)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    directory = Directory(tmp_path / "one")
    directory.create()
    directory.write_launch(LAUNCH)
    directory.write_ready(ReadyMark(1, 2, 3.0))
    assert (LAUNCH, ReadyMark(1, 2, 3.0), None) == (directory.launch, directory.ready, directory.state)


def test_a_new_start_forgets_the_one_before(tmp_path: Path) -> None:
    directory = Directory(tmp_path)
    directory.write_ready(ReadyMark(1, 2, 3.0))
    (tmp_path / "state.json").write_text("{}")
    directory.write_launch(replace(LAUNCH, port=9001))
    assert (None, False) == (directory.ready, (tmp_path / "state.json").exists())


def test_damaged_files_are_as_if_absent_and_unknown_fields_do_not_matter(tmp_path: Path) -> None:
    directory = Directory(tmp_path)
    (tmp_path / "launch.json").write_text("{")
    (tmp_path / "state.json").write_text("{}")
    (tmp_path / "ready.json").write_text(json.dumps({"pid": 1, "start_ticks": 2, "ready_at": 3.0, "more": 1}))
    assert (None, None, ReadyMark(1, 2, 3.0)) == (directory.launch, directory.state, directory.ready)


def test_every_launched_replica_is_found_by_its_names(tmp_path: Path) -> None:
    directories = EngineDirectories(tmp_path)
    names = [(Key("default", "app"), "app-0"), (Key("team.a", "../x"), "x/0")]
    for key, name in names:
        directory = directories.of(key, name)
        directory.create()
        directory.write_launch(LAUNCH)
        assert directory.path.resolve().is_relative_to(tmp_path)
    assert sorted(names) == sorted((key, name) for key, name, _ in directories.all())
    directories.remove(Key("default", "app"))
    assert [Key("team.a", "../x")] == [key for key, _, _ in directories.all()]


def test_last_lines_are_few_short_and_without_secrets(tmp_path: Path) -> None:
    lines = [f"line {number}" for number in range(5000)]
    (tmp_path / "engine.log").write_text("\n".join([*lines, "", "token hf_abcdefgh", "x" * 1000, "", ""]))
    found = Directory(tmp_path).last_lines(3)
    assert ["line 4999", "token hf_[redacted]", "x" * 300] == found


def test_without_a_log_there_are_no_last_lines(tmp_path: Path) -> None:
    assert [] == Directory(tmp_path).last_lines()


def test_a_state_that_an_older_shim_wrote_is_read(tmp_path: Path) -> None:
    state = {"status": "ended", "shim_pid": 1, "shim_start_ticks": 1, "pid": 2, "start_ticks": 2, "started_at": 1.0}
    (tmp_path / "state.json").write_text(json.dumps(state | {"asked": True, "of_a_newer_version": 1}))
    read = Directory(tmp_path).state
    assert read is not None
    assert read.stop_requested
