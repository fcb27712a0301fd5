from pathlib import Path

import pytest

from arks.local.files.paths import Paths


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    paths = Paths.of(tmp_path / "home")
    paths.create()
    return paths
