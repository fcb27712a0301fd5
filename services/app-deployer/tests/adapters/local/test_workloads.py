"""Workloads on one machine, with engines that do as they are told: quick, and with every fault at hand."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry

from arks.app_deployer.adapters.local.probe import HttpProbe
from arks.app_deployer.adapters.local.runtimes import Demand
from arks.app_deployer.adapters.local.wiring import local_options
from arks.app_deployer.adapters.local.workloads import LocalWorkloads
from arks.app_deployer.adapters.metrics import EngineMeters
from arks.app_deployer.config import Settings
from arks.app_deployer.domain.launch.local_commands import EngineParameters
from arks.app_deployer.domain.workload import Change, Machine, Observed, Replica, ReplicaState, ReplicaVerb, Workload
from arks.app_deployer.testing import fake_engine
from arks.app_deployer.testing.workloads_contract import WorkloadsContract
from arks.contracts.resources import ArksApplication, ArksApplicationSpec
from arks.events.v1.facts_pb2 import ModelFact
from arks.kit.clock import SystemClock
from arks.kit.reconcile import Key
from arks.kit.testing.wait import eventually

pytestmark = pytest.mark.real
KEY = Key("default", "app")
REPLICA_BYTES = 100


class ObedientRuntimes:
    async def demand(self, _: ArksApplicationSpec, model_path: str, slots: int) -> Demand:
        return Demand(model_path, REPLICA_BYTES, 60, slots)

    def command(self, spec: ArksApplicationSpec, engine: EngineParameters) -> list[str]:
        return [sys.executable, "-I", "-S", fake_engine.__file__, "--port", str(engine.port), *spec.runtime_args]


class LocalRig:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.settings = Settings(
            state_dir=directory,
            supervisor_pid=os.getpid(),
            probe_seconds=0.01,
            liveness_seconds=0.05,
            backoff_first_seconds=0.05,
            backoff_longest_seconds=0.1,
            drain_settle_seconds=0.05,
            kill_seconds=0.5,
            grace_seconds=5.0,
        )
        self.available_bytes = 100 * REPLICA_BYTES
        self.changes: list[Change] = []
        self.workloads = self._make()

    def _make(self, *, health_seconds: float = 5.0, **settings: Any) -> LocalWorkloads:
        self._probe = HttpProbe(health_seconds=health_seconds, answer_seconds=30.0)
        workloads = LocalWorkloads(
            local_options(self.settings.model_copy(update=settings)),
            probe=self._probe,
            clock=SystemClock(),
            meters=EngineMeters(CollectorRegistry()),
            environment={"PATH": os.environ["PATH"], "ARKS_NATS_URL": "nats://x"},
            runtimes=ObedientRuntimes(),
            look=lambda: Machine(2, self.available_bytes, has_gpu=False, programs=frozenset()),
        )
        workloads.subscribe(self.changes.append)
        return workloads

    async def open(self) -> None:
        await self._probe.start()
        await self.workloads.start()

    async def restart(self, **settings: float) -> None:
        await self.close()
        self.workloads = self._make(**settings)
        await self.open()

    async def close(self) -> None:
        await self.workloads.close()
        await self._probe.close()

    def spec(self, version: int) -> dict[str, Any]:
        return {"runtime": "llamacpp", "runtimeCommonArgs": ["--version", str(version)]}

    def model(self) -> ModelFact:
        return ModelFact(namespace="default", name="model", ready=True, path="/model", generation=1)

    async def end(self, replica: Replica) -> None:
        os.kill(self.state(replica.name)["pid"], signal.SIGKILL)

    def traces(self) -> list[str]:
        return [*self.processes(), *(str(path) for path in self.directory.glob("engines/*/*/*"))]

    # --- for the tests below

    def wanted(self, replicas: int = 1, **spec: Any) -> Workload:
        fields = {"replicas": replicas, "runtime": "llamacpp", "model": {"name": "model"}, "instanceSpec": {}} | spec
        application = ArksApplication.from_dict(
            {"apiVersion": "arks.ai/v1", "kind": "ArksApplication", "metadata": {"name": "app"}, "spec": fields}
        )
        return Workload(application, self.model())

    def state(self, replica: str) -> dict[str, Any]:
        state: dict[str, Any] = json.loads((self.directory_of(replica) / "state.json").read_text())
        return state

    def directory_of(self, replica: str) -> Path:
        return self.directory / "engines" / "default" / "app" / replica

    def processes(self) -> list[str]:
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and str((entry / "cwd").readlink()).startswith(str(self.directory)):
                    found.append(entry.name)
        return found

    async def reach(self, workload: Workload, *states: ReplicaState, within_seconds: float = 60) -> Observed:
        async def reached() -> Observed | None:
            observed = await self.workloads.apply(workload)
            return observed if [one.state for one in observed.replicas] == list(states) else None

        found = await eventually(reached, within_seconds=within_seconds, what=str(states))
        assert found is not None
        return found

    async def tell(self, replica: Replica, order: str) -> None:
        async with httpx.AsyncClient(timeout=30) as client:
            with contextlib.suppress(httpx.RemoteProtocolError):
                await client.post(f"http://{replica.host}:{replica.port}/{order}")


@pytest_asyncio.fixture
async def rig(tmp_path: Path) -> AsyncIterator[LocalRig]:
    rig = LocalRig(tmp_path)
    await rig.open()
    yield rig
    await rig.close()
    for state in tmp_path.glob("engines/*/*/*/state.json"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(json.loads(state.read_text())["shim_pid"], signal.SIGKILL)
    await eventually(lambda: not rig.processes(), what="no engine left")


class TestLocalWorkloads(WorkloadsContract):
    pass


READY, FAILED, LOADING = ReplicaState.READY, ReplicaState.FAILED, ReplicaState.LOADING
DRAINING, STARTING = ReplicaState.DRAINING, ReplicaState.STARTING


async def test_an_engine_that_ends_is_told_with_its_status_and_last_words(rig: LocalRig) -> None:
    (replica,) = (await rig.reach(rig.wanted(), READY)).replicas
    await rig.tell(replica, "end/3")
    await eventually(lambda: rig.changes[-1].verb is ReplicaVerb.EXITED, what="told")
    assert ("these are", "the last words") == rig.changes[-1].last_lines
    (after,) = rig.workloads.observe(KEY).replicas
    assert "it ended with status 3; its last lines: these are\nthe last words" == after.message


async def test_the_first_restart_is_at_once_and_later_ones_wait_longer(rig: LocalRig) -> None:
    await rig.restart(backoff_first_seconds=60.0, backoff_longest_seconds=600.0)
    workload = rig.wanted(runtimeCommonArgs=["--fail", "no luck"])
    await rig.workloads.apply(workload)
    observed = await rig.reach(workload, ReplicaState.BACK_OFF)

    async def second_end() -> bool:
        return (await rig.workloads.apply(workload)).replicas[0].failures == 2

    await eventually(second_end, what="a second end")
    observed = rig.workloads.observe(KEY)
    assert observed.again_seconds is not None
    assert 50 < observed.again_seconds <= 60
    assert 1 == observed.replicas[0].restarts


async def test_three_ends_in_a_row_make_it_failed(rig: LocalRig) -> None:
    observed = await rig.reach(rig.wanted(runtimeCommonArgs=["--fail", "no luck"]), FAILED)
    assert "it ended with status 1; its last lines: no luck" == observed.replicas[0].message
    assert observed.replicas[0].failures >= 3


async def test_an_engine_that_served_well_starts_with_a_clean_slate(rig: LocalRig) -> None:
    await rig.restart(stable_seconds=0.0, backoff_first_seconds=60.0)
    for restarts in range(4):
        (replica,) = (await rig.reach(rig.wanted(), READY)).replicas
        assert restarts == replica.restarts
        await rig.end(replica)
        await eventually(lambda: rig.workloads.observe(KEY).replicas[0].state is not READY, what="the end seen")


async def test_a_shim_that_is_killed_takes_its_engine_along_and_both_come_back(rig: LocalRig) -> None:
    await rig.reach(rig.wanted(), READY)
    before = rig.state("app-0")
    os.kill(before["shim_pid"], signal.SIGKILL)
    await eventually(lambda: rig.workloads.observe(KEY).replicas[0].state is not READY, what="the end seen")
    await rig.reach(rig.wanted(), READY)
    assert before["pid"] != rig.state("app-0")["pid"]
    assert not Path(f"/proc/{before['pid']}/cwd").exists()


async def test_a_program_that_does_not_exist_is_told(rig: LocalRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ObedientRuntimes, "command", lambda *_: ["/nowhere/engine"])
    observed = await rig.reach(rig.wanted(), FAILED)
    assert "cannot start /nowhere/engine" in observed.replicas[0].message


async def test_an_engine_is_loading_until_its_model_answers(rig: LocalRig) -> None:
    workload = rig.wanted(runtimeCommonArgs=["--load", "0.5"])
    await rig.workloads.apply(workload)
    assert STARTING is rig.workloads.observe(KEY).replicas[0].state
    await rig.reach(workload, READY)


async def test_an_engine_that_is_never_ready_is_ended_and_started_again(rig: LocalRig) -> None:
    await rig.restart(start_seconds=0.5)
    workload = rig.wanted(runtimeCommonArgs=["--load", "60"])

    async def restarted() -> Observed | None:
        observed = await rig.workloads.apply(workload)
        return observed if observed.replicas[0].restarts else None

    observed = await eventually(restarted, what="a restart")
    assert observed is not None
    assert "it was not ready within 0 s: it does not answer on /health" in observed.replicas[0].message


async def test_a_deaf_engine_gets_no_traffic_and_then_is_started_again(rig: LocalRig) -> None:
    await rig.restart(hung_seconds=3.0, health_seconds=0.5)
    (replica,) = (await rig.reach(rig.wanted(), READY)).replicas
    await rig.tell(replica, "deaf")
    await eventually(lambda: rig.workloads.observe(KEY).replicas[0].state is LOADING, what="no traffic")
    (after,) = (await rig.reach(rig.wanted(), READY, within_seconds=60)).replicas
    assert 1 == after.restarts


async def test_a_replica_that_works_drains_until_it_is_idle(rig: LocalRig) -> None:
    (replica,) = (await rig.reach(rig.wanted(), READY)).replicas
    await rig.tell(replica, "busy/2")
    await rig.workloads.apply(rig.wanted(0))
    await asyncio.sleep(0.5)  # nothing may happen meanwhile, which no condition shows
    assert [DRAINING] == [one.state for one in rig.workloads.observe(KEY).replicas]
    assert rig.processes()
    await rig.tell(replica, "busy/0")
    await eventually(lambda: not rig.workloads.observe(KEY).replicas, what="gone")
    assert ("Stopped", ReplicaVerb.EXITED) == (rig.changes[-1].reason, rig.changes[-1].verb)


async def test_a_replica_that_works_on_is_ended_after_its_grace_time(rig: LocalRig) -> None:
    await rig.restart(grace_seconds=600.0)
    workload = rig.wanted(instanceSpec={"terminationGracePeriodSeconds": 1})
    (replica,) = (await rig.reach(workload, READY)).replicas
    await rig.tell(replica, "busy/2")
    await rig.workloads.apply(rig.wanted(0, instanceSpec={"terminationGracePeriodSeconds": 1}))
    await eventually(lambda: not rig.workloads.observe(KEY).replicas, what="gone")


async def test_without_memory_for_one_more_an_old_replica_makes_room(rig: LocalRig) -> None:
    (before,) = (await rig.reach(rig.wanted(), READY)).replicas
    rig.available_bytes = 0
    changed = rig.wanted(runtimeCommonArgs=["--version", "2"])
    assert [DRAINING] == [one.state for one in (await rig.workloads.apply(changed)).replicas]
    await eventually(lambda: not rig.workloads.observe(KEY).replicas, what="the old one gone")
    refused = await rig.workloads.apply(changed)
    assert refused.refusal is not None
    assert "NotEnoughMemory" == refused.refusal.reason
    rig.available_bytes = REPLICA_BYTES
    (after,) = (await rig.reach(changed, READY)).replicas
    assert rig.workloads.observe(KEY).refusal is None
    assert before.port != after.port


async def test_engines_that_load_count_against_memory(rig: LocalRig) -> None:
    rig.available_bytes = REPLICA_BYTES + 1
    observed = await rig.workloads.apply(rig.wanted(3, runtimeCommonArgs=["--load", "60"]))
    assert 1 == len(observed.replicas)
    assert 1 == len((await rig.workloads.apply(rig.wanted(3, runtimeCommonArgs=["--load", "60"]))).replicas)


async def test_many_replicas_load_a_few_at_a_time(rig: LocalRig) -> None:
    observed = await rig.workloads.apply(rig.wanted(5))
    assert (2, 2.0) == (len(observed.replicas), observed.again_seconds)
    await rig.reach(rig.wanted(5), *[READY] * 5)


async def test_adoption_knows_ports_restarts_and_readiness(rig: LocalRig) -> None:
    (first,) = (await rig.reach(rig.wanted(), READY)).replicas
    await rig.end(first)
    await eventually(lambda: rig.workloads.observe(KEY).replicas[0].state is not READY, what="the end seen")
    before = await rig.reach(rig.wanted(), READY)
    await rig.restart()
    assert [replace(one, failures=1) for one in before.replicas] == list(rig.workloads.observe(KEY).replicas)
    assert before == await rig.workloads.apply(rig.wanted())


async def test_a_replica_that_had_been_told_to_end_is_not_started_again(rig: LocalRig) -> None:
    (replica,) = (await rig.reach(rig.wanted(2), READY, READY)).replicas[1:]
    await rig.close()
    os.kill(rig.state(replica.name)["shim_pid"], signal.SIGTERM)
    await eventually(lambda: rig.state(replica.name)["status"] == "ended", what="its end")
    rig.workloads = rig._make()
    await rig.open()
    assert ["app-0"] == [one.name for one in rig.workloads.observe(KEY).replicas]


async def test_engines_get_the_spec_s_environment_none_of_arks_own_and_it_is_not_written_down(rig: LocalRig) -> None:
    env = [{"name": "LD_BIND_NOW", "value": "1"}, {"name": "FROM", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}]
    await rig.reach(rig.wanted(instanceSpec={"env": env}), READY)
    environment = Path(f"/proc/{rig.state('app-0')['pid']}/environ").read_bytes().decode().split("\0")
    names = {line.partition("=")[0] for line in environment if line}
    written = "".join(path.read_text() for path in rig.directory_of("app-0").glob("*.json"))
    assert os.environ["PATH"] not in written
    assert {"PATH", "LD_BIND_NOW"} == names - {"LC_CTYPE"}


async def test_names_of_any_kind_stay_below_the_engines_directory(rig: LocalRig) -> None:
    await rig.reach(rig.wanted(), READY)
    assert ["app-0"] == [path.name for path in (rig.directory / "engines/default/app").iterdir()]
    assert 0o700 == (rig.directory_of("app-0")).stat().st_mode & 0o777
    assert 0o600 == (rig.directory_of("app-0") / "launch.json").stat().st_mode & 0o777
