"""GPUs as a scripted driver shows them, and real processes of this machine. No real GPU is involved."""

import asyncio
import importlib
import os
import sys
from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from arks.kit.clock import SystemClock
from arks.kit.key import Key
from arks.kit.proc import listeners, parents
from arks.kit.testing.wait import eventually
from arks.metrics.adapters.gpus import NvmlGpus
from arks.metrics.domain.gpus import Gpu, GpuUse, use_of, with_children
from arks.metrics.domain.replicas import Application, Replica
from arks.metrics.service.collector import Collector
from arks.metrics.service.gpus import GpuWatch
from arks.metrics.service.ports import ReadPolicy
from arks.metrics.testing.members import alone

GIB = 2**30
TWO_GPUS = [
    Gpu(0, "GPU-a", 80 * GIB, 60 * GIB, 0.9, {10: 40 * GIB, 99: 20 * GIB}),
    Gpu(1, "GPU-b", 80 * GIB, 41 * GIB, 0.5, {11: 41 * GIB}),
]


def test_a_replica_uses_the_memory_of_its_processes_and_the_busiest_of_their_gpus() -> None:
    assert GpuUse(0.9, 81 * GIB) == use_of(TWO_GPUS, {1, 10, 11})


def test_what_other_processes_use_is_not_the_replicas() -> None:
    assert GpuUse(0.5, 41 * GIB) == use_of(TWO_GPUS, {11})


def test_a_replica_on_no_gpu_has_no_gpu_signals() -> None:
    assert use_of(TWO_GPUS, {12}) is None


def test_what_the_driver_does_not_report_is_absent_and_not_zero() -> None:
    assert GpuUse(None, None) == use_of([Gpu(0, "MIG", GIB, GIB, None, {10: 0})], {10})


@given(st.dictionaries(st.integers(1, 30), st.integers(0, 30)), st.sets(st.integers(1, 30)))
def test_descendants_are_found_also_in_a_table_that_makes_no_sense(parent_of: dict[int, int], roots: set[int]) -> None:
    found = with_children(parent_of, roots)
    assert roots <= found
    assert all(pid in found for pid, parent in parent_of.items() if parent in found)
    assert all(pid in roots or parent_of[pid] in found for pid in found)


class ScriptedNvml:
    """What pynvml does for two GPUs, of which the second is lost and the first does not report how busy it is."""

    class NVMLError(Exception):
        pass

    def nvmlInit(self) -> None:  # noqa: N802
        pass

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        if index == 1:
            raise self.NVMLError("GPU is lost")
        return index

    def nvmlDeviceGetMemoryInfo(self, _: int) -> SimpleNamespace:  # noqa: N802
        return SimpleNamespace(total=80 * GIB, used=60 * GIB)

    def nvmlDeviceGetComputeRunningProcesses(self, _: int) -> list[SimpleNamespace]:  # noqa: N802
        return [SimpleNamespace(pid=10, usedGpuMemory=40 * GIB), SimpleNamespace(pid=11, usedGpuMemory=None)]

    def nvmlDeviceGetUUID(self, index: int) -> str:  # noqa: N802
        return f"GPU-{index}"

    def nvmlDeviceGetUtilizationRates(self, _: int) -> SimpleNamespace:  # noqa: N802
        raise self.NVMLError("not supported")


def test_a_lost_gpu_does_not_hide_the_others() -> None:
    assert [Gpu(0, "GPU-0", 80 * GIB, 60 * GIB, None, {10: 40 * GIB, 11: 0})] == NvmlGpus(ScriptedNvml()).read()


def test_the_names_that_we_call_are_those_of_the_real_package() -> None:
    pynvml = importlib.import_module("pynvml")
    assert [] == [name for name in dir(ScriptedNvml) if name.startswith("nvml") and not hasattr(pynvml, name)]
    assert issubclass(pynvml.NVMLError, Exception)


async def test_the_process_that_listens_on_a_port_is_found() -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        assert {port: {os.getpid()}, 1: set()} == await asyncio.to_thread(listeners, {port, 1})
    finally:
        server.close()
        await server.wait_closed()


async def test_children_have_their_parent() -> None:
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", "input()", stdin=asyncio.subprocess.PIPE)
    try:
        assert os.getpid() == parents()[child.pid]
    finally:
        await child.communicate(b"\n")


class ScriptedGpus:
    def read(self) -> list[Gpu]:
        return TWO_GPUS

    def processes(self, ports: set[int]) -> dict[int, set[int]]:
        return {port: {10} for port in ports}


async def test_only_replicas_of_this_machine_get_its_gpu_signals() -> None:
    here, elsewhere = Replica("a", "127.0.0.1", 1), Replica("b", "10.0.0.1", 1)
    collector = Collector(None, None, SystemClock(), ReadPolicy(), alone())  # type: ignore[arg-type]  # nothing is read here
    collector.change(Key("default", "app"), Application("vllm", (here, elsewhere)))
    watch = GpuWatch(ScriptedGpus(), collector, interval_seconds=0.01)  # type: ignore[arg-type]  # a set is a collection
    task = asyncio.create_task(watch.run())
    try:
        reports = next(collector.watches()).reports
        assert GpuUse(0.9, 40 * GIB) == await eventually(lambda: reports()[here].gpu)
        assert reports()[elsewhere].gpu is None
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
