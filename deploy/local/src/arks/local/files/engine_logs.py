"""Paths of the engines' logs, written by app-deployer: engines/<namespace>/<application>/<replica>/.

Those of disaggregated applications are in disaggregated/ instead.
"""

from pathlib import Path

from arks.contracts.subjects import encode
from arks.local.files.paths import Paths

LOG = "engine.log"
PREVIOUS = "engine.log.1"


def engine_logs(paths: Paths, namespace: str, application: str, *, previous: bool = False) -> dict[str, Path]:
    """Replica name -> its log."""
    name = PREVIOUS if previous else LOG
    below = f"{encode(namespace)}/{encode(application)}/*/{name}"
    # Applications of both kinds have different names.
    found = [*paths.engines.glob(below), *paths.disaggregated.glob(below)]
    return {log.parent.name: log for log in sorted(found)}
