"""Where the engines' logs are."""

from pathlib import Path

import pytest

from arks.local.files.engine_logs import engine_logs
from arks.local.files.paths import Paths


@pytest.mark.parametrize("directory", ["engines", "disaggregated"])
def test_logs_of_both_kinds_of_applications_are_found(directory: str, tmp_path: Path) -> None:
    log = tmp_path / directory / "team-a" / "app" / "app-0" / "engine.log"
    log.parent.mkdir(parents=True)
    log.touch()
    assert {"app-0": log} == engine_logs(Paths(tmp_path), "team-a", "app")
    assert {} == engine_logs(Paths(tmp_path), "team-a", "app", previous=True)
