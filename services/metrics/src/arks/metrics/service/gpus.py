"""GPU signals of the replicas on this machine."""

import asyncio

from arks.metrics.domain.gpus import Gpu, GpuUse, use_of
from arks.metrics.service.collector import Collector
from arks.metrics.service.ports import Gpus


class GpuWatch:
    """Polls the GPUs of this machine and records which share of them each replica uses."""

    def __init__(self, gpus: Gpus, collector: Collector, interval_seconds: float) -> None:
        self._gpus = gpus
        self._collector = collector
        self._interval_seconds = interval_seconds
        self.newest: list[Gpu] = []

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            watches = list(self._collector.watches())
            ports = set().union(*(watch.local_ports() for watch in watches))
            self.newest, uses = await asyncio.to_thread(self._read, ports)
            for watch in watches:
                watch.take_gpus(uses)
            await asyncio.sleep(self._interval_seconds)

    def _read(self, ports: set[int]) -> tuple[list[Gpu], dict[int, GpuUse | None]]:
        gpus = self._gpus.read()
        processes = self._gpus.processes(ports) if ports else {}
        return gpus, {port: use_of(gpus, found) for port, found in processes.items()}
