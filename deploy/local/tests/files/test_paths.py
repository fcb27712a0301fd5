import tempfile
from pathlib import Path

import pytest

from arks.local.files.paths import Paths


def test_sockets_are_in_a_directory_of_their_owner_only(tmp_path: Path) -> None:
    for home in (tmp_path / "a", tmp_path / ("long" * 40)):
        paths = Paths.of(home)
        paths.create()
        assert 0o700 == paths.sockets.stat().st_mode & 0o777
        assert paths.xds_socket.parent == paths.envoy_admin_socket.parent == paths.sockets
        if home.name != "a":
            assert paths.sockets.parent == tmp_path  # the directory of temporary files


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_a_directory_that_others_may_change_is_refused(tmp_path: Path) -> None:
    paths = Paths.of(tmp_path / ("long" * 40))
    paths.create()
    paths.sockets.chmod(0o770)
    with pytest.raises(PermissionError, match="0700"):
        paths.create()
