"""The services of deploy/compose.yaml as processes: their commands and environments, on loopback and free ports."""

import os
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

from arks.kit.ports import free_port
from arks.kit.process import end, spawn
from arks.kit.testing.servers import small_model
from arks.kit.testing.wait import eventually

ROOT = Path(__file__).parents[3]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
ENTRYPOINTS = {"ark-engine": [str(ROOT / ".venv/bin/ark-engine")], "api-server": []}
"""Target of the Dockerfile -> its entry point."""
_DEFAULT = re.compile(r"\$\{\w+:-([^}]*)\}")
SMALL = ["--parallel", "2", "--ctx-size", "1024", "--threads", "1", "--http-host", "127.0.0.1", "--host", "127.0.0.1"]
"""What the machine of the tests needs beside the file's own options."""


def interpolated(text: str) -> str:
    """As Compose does it when none of the variables is set."""
    return _DEFAULT.sub(r"\1", text)


@dataclass
class Composed:
    """Running services, by name."""

    directory: Path
    ports: dict[tuple[str, int], int] = field(default_factory=dict)
    """Service and its port in the file -> the port here."""
    processes: dict[str, Any] = field(default_factory=dict)

    def port(self, service: str, port: int) -> int:
        return self.ports.setdefault((service, port), free_port())

    async def start(self, service: str, extra: list[str]) -> None:
        described = SERVICES[service]
        command = [*ENTRYPOINTS[described["build"]["target"]], *described["command"], *extra]
        command = [self._here(service, word) for word in command]
        environment = self._environment(service, described.get("environment", {}))
        log_file = self.directory / f"{service}.log"
        self.processes[service] = await spawn(command, log_file=log_file, environment=environment)

    def _here(self, service: str, word: str) -> str:
        """A word of a command, on this machine."""
        if word == "/models":
            return str(small_model())
        if word == "start.sh":
            return str(ROOT / "services/openai-proxy/start.sh")
        return str(self.port(service, int(word))) if word in {"62000", "62001"} else word

    def _environment(self, service: str, described: Mapping[str, str]) -> dict[str, str]:
        """Names of services become loopback, ports those of the named service."""
        given = {name: interpolated(value) for name, value in described.items()}
        if "PREFILL_NODE_IP" in given:
            given["PREFILL_NODE_IP"] = f"127.0.0.1:{self.port(given['PREFILL_NODE_IP'], 62000)}"
        if "HTTP_FORWARD_GRPC_HOST" in given:
            port = int(given["HTTP_FORWARD_GRPC_PORT"])
            given["HTTP_FORWARD_GRPC_PORT"] = str(self.port(given["HTTP_FORWARD_GRPC_HOST"], port))
            given |= {
                "HTTP_FORWARD_GRPC_HOST": "127.0.0.1",
                "HOST": "127.0.0.1",
                "PORT": str(self.port(service, 18080)),
            }
        return {**os.environ, "PATH": f"{ROOT}/.venv/bin:{os.environ['PATH']}", **given}

    def url(self, service: str) -> str:
        """The page of the service's health check."""
        test = SERVICES[service]["healthcheck"]["test"][-1]
        port, path = re.search(r"127\.0\.0\.1:(\d+)(/\w+)", test).groups()  # type: ignore[union-attr]
        return f"http://127.0.0.1:{self.port(service, int(port))}{path}"

    async def healthy(self, service: str) -> None:
        async with httpx.AsyncClient() as http:

            async def answers() -> bool:
                if self.processes[service].returncode is not None:
                    raise RuntimeError((self.directory / f"{service}.log").read_text()[-2000:])
                try:
                    return (await http.get(self.url(service))).status_code == 200
                except httpx.TransportError:
                    return False

            await eventually(answers, within_seconds=90.0, what=f"{service} is healthy")


@asynccontextmanager
async def composed(directory: Path, *services: str) -> AsyncIterator[Composed]:
    running = Composed(directory)
    try:
        for service in services:
            await running.start(service, [] if service == "api-server" else SMALL)
        for service in services:
            await running.healthy(service)
        yield running
    finally:
        for process in running.processes.values():
            await end(process, grace_seconds=5.0)
