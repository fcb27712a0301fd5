import stat
from pathlib import Path

from arks.local.files import credentials
from arks.local.files.paths import Paths


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_only_the_owner_can_read_the_home(paths: Paths) -> None:
    credentials.create_all(paths)
    credentials.demo_key(paths)
    assert {0o700} == {mode(directory) for directory in (paths.home, paths.run, paths.logs)}
    secrets = (paths.nats_token, paths.valkey_password, paths.pepper, paths.operator_token, paths.demo_key)
    assert {0o600} == {mode(file) for file in secrets}


def test_secrets_are_created_once_and_kept(paths: Paths) -> None:
    first = credentials.demo_key(paths)
    assert first.startswith("sk-")
    assert len(first) > 40
    assert first == credentials.demo_key(paths) == paths.demo_key.read_text()


def test_a_secret_readable_by_others_gets_mode_0600_again(paths: Paths) -> None:
    paths.demo_key.write_text("sk-mine")
    paths.demo_key.chmod(0o644)
    assert "sk-mine" == credentials.demo_key(paths)
    assert 0o600 == mode(paths.demo_key)
