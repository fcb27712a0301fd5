"""Paths of the engines' logs, written by app-deployer: engines/<namespace>/<application>/<replica>/."""

from pathlib import Path

from arks.contracts.subjects import encode
from arks.local.files.paths import Paths

LOG = "engine.log"
PREVIOUS = "engine.log.1"


def engine_logs(paths: Paths, namespace: str, application: str, *, previous: bool = False) -> dict[str, Path]:
    """Replica name -> its log."""
    directory = paths.engines / encode(namespace) / encode(application)
    name = PREVIOUS if previous else LOG
    return {log.parent.name: log for log in sorted(directory.glob(f"*/{name}"))}
