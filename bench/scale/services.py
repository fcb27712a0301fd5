"""Runs Arks' services and an Envoy as processes, and measures their CPU and memory."""

import asyncio
import os
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from arks.endpoint_router.config import Settings as RouterSettings
from arks.endpoint_router.programs.bootstrap import bootstrap_json
from arks.endpoint_router.testing.program import envoy_line
from arks.kit.ports import free_port
from arks.kit.process import end, spawn
from arks.kit.testing.servers import Server
from bench.process_cost import cpu_seconds, resident_megabytes
from bench.scale.cluster import SYSTEM, Cluster

MODULES = {
    "model-manager": "arks.model_manager.main",
    "app-deployer": "arks.app_deployer.main",
    "metrics": "arks.metrics.main",
    "endpoint-router": "arks.endpoint_router.main",
    "token-quota": "arks.token_quota.main",
    "usage-meter": "arks.token_quota.programs.meter",
}
NAMES = tuple(MODULES)
_END_SECONDS = 15.0


@dataclass
class Services:
    cluster: Cluster
    nats: Server
    valkey: Server
    directory: Path
    accounts: Mapping[str, Path]
    """Service -> directory that `Cluster.account` returned."""
    processes: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)
    health_ports: dict[str, int] = field(default_factory=dict)
    gateway_port: int = field(default_factory=free_port)
    admin_port: int = field(default_factory=free_port)
    _admission_port: int = field(default_factory=free_port)
    _xds_port: int = field(default_factory=free_port)

    def prepare(self) -> None:
        """Writes the files that the services need."""
        (self.directory / "pepper").write_text(secrets.token_hex(16))
        (self.directory / "redis-password").write_text(self.valkey.password)
        router = RouterSettings(xds_port=self._xds_port, envoy_admin_port=self.admin_port)
        (self.directory / "envoy.json").write_text(bootstrap_json(router))

    async def start(self, *names: str) -> None:
        """Starts the named programs, or all services and Envoy at once."""
        for name in names or (*NAMES, "envoy"):
            log = self.directory / f"{name}.log"
            if name == "envoy":
                envoy = envoy_line(self.directory / "envoy.json")
                self.processes[name] = await spawn(envoy, log_file=log)
                continue
            module = MODULES[name]
            environment = self._environment(name)
            self.processes[name] = await spawn([sys.executable, "-m", module], log_file=log, environment=environment)

    async def stop(self) -> None:
        """Stops all processes as Kubernetes stops pods."""
        ending = [end(process, grace_seconds=_END_SECONDS) for process in self.processes.values()]
        await asyncio.gather(*ending)
        self.processes.clear()

    async def ready(self, name: str) -> bool:
        url = f"http://127.0.0.1:{self.health_ports[name]}/readyz"
        try:
            async with aiohttp.ClientSession() as client, client.get(url) as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    async def all_ready(self) -> bool:
        return all([await self.ready(name) for name in NAMES])

    def costs(self) -> dict[str, float]:
        """CPU seconds of each process since its start."""
        pids = {name: process.pid for name, process in self.processes.items()}
        return {name: cpu_seconds(pid) for name, pid in pids.items()}

    def sizes(self) -> dict[str, float]:
        """Resident megabytes of each process."""
        return {name: resident_megabytes(process.pid) for name, process in self.processes.items()}

    def _environment(self, name: str) -> dict[str, str]:
        self.health_ports[name] = free_port()
        settings = {
            "PLATFORM": "kubernetes",
            "KUBE_ACCOUNT_DIR": self.accounts[name],
            "RELEASE_NAMESPACE": SYSTEM,
            "NATS_URL": f"nats://127.0.0.1:{self.nats.port}",
            "STATE_DIR": self.directory,
            "HTTP_PORT": self.health_ports[name],
            "WORKER_IMAGE": "arks/model-manager:bench",
            "REDIS_URL": f"redis://127.0.0.1:{self.valkey.port}",
            "REDIS_PASSWORD_FILE": self.directory / "redis-password",
            "PEPPER_FILE": self.directory / "pepper",
            "API_PORT": self._admission_port,
            "TOKEN_QUOTA_PORT": self._admission_port,
            "XDS_PORT": self._xds_port,
            "GATEWAY_PORT": self.gateway_port,
            "ENVOY_ADMIN_PORT": self.admin_port,
            "USAGE_LOG": self.directory / "usage.log",
        }
        host, port = self.cluster.server.url.removeprefix("https://").split(":")
        kubernetes = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}
        kubernetes |= {"KUBECONFIG": str(self.accounts[name] / "kubeconfig")}
        pod = {"HOSTNAME": f"arks-{name}-{secrets.token_hex(4)}"}  # every start is a new pod
        ours = {f"ARKS_{setting}": str(value) for setting, value in settings.items()}
        return {**os.environ, **kubernetes, **pod, **ours}
