"""Workloads on one machine, with engines controlled by the test: quick, and with every fault at hand."""

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

from arks.app_deployer.adapters.local.runtimes import EngineRequirements
from arks.app_deployer.adapters.local.wiring import local_options
from arks.app_deployer.adapters.local.workloads import LocalWorkloads
from arks.app_deployer.adapters.metrics import EngineMetrics
from arks.app_deployer.adapters.probe import HttpProbe
from arks.app_deployer.adapters.profiles import read_profiles
from arks.app_deployer.config import Settings
from arks.app_deployer.domain.launch.local_commands import EngineParameters
from arks.app_deployer.domain.workload import Change, Machine, ObservedReplica, ObservedWorkload, ReplicaVerb, Workload
from arks.app_deployer.testing import fake_engine
from arks.app_deployer.testing.workloads_contract import WorkloadsContract
from arks.contracts.resources import ArksApplication, ArksApplicationSpec, InstanceState
from arks.events.v1.facts_pb2 import ModelFact
from arks.kit.clock import SystemClock
from arks.kit.key import Key
from arks.kit.secrets import LocalSecrets
from arks.kit.testing.wait import eventually

pytestmark = pytest.mark.real
KEY = Key("default", "app")
REPLICA_BYTES = 100


class FakeRuntimes:
    async def requirements(self, _: ArksApplicationSpec, model_path: str, slots: int) -> EngineRequirements:
        return EngineRequirements(model_path, REPLICA_BYTES, 60, slots)

    def command(self, spec: ArksApplicationSpec, engine: EngineParameters) -> list[str]:
        return [sys.executable, "-I", "-S", fake_engine.__file__, "--port", str(engine.port), *spec.runtime_args]


class LocalHarness:
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
            metrics=EngineMetrics(CollectorRegistry()),
            environment={"PATH": os.environ["PATH"], "ARKS_NATS_URL": "nats://x"},
            profiles=read_profiles(),
            secrets=LocalSecrets(self.directory / "secrets"),
            runtimes=FakeRuntimes(),
            inspect_machine=lambda: Machine(2, self.available_bytes, has_gpu=False, programs=frozenset()),
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

    async def end(self, replica: ObservedReplica) -> None:
        os.kill(self.state(replica.name)["pid"], signal.SIGKILL)

    def traces(self) -> list[str]:
        return [*self.processes(), *(str(path) for path in self.directory.glob("engines/*/*/*"))]

    # --- for the tests below

    def desired(self, replicas: int = 1, **spec: Any) -> Workload:
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

    async def reach(self, workload: Workload, *states: InstanceState, within_seconds: float = 60) -> ObservedWorkload:
        async def reached() -> ObservedWorkload | None:
            observed = await self.workloads.apply(workload)
            return observed if [item.state for item in observed.replicas] == list(states) else None

        found = await eventually(reached, within_seconds=within_seconds, what=str(states))
        assert found is not None
        return found

    async def notify(self, replica: ObservedReplica, order: str) -> None:
        async with httpx.AsyncClient(timeout=30) as client:
            with contextlib.suppress(httpx.RemoteProtocolError):
                await client.post(f"http://{replica.host}:{replica.port}/{order}")


@pytest_asyncio.fixture
async def harness(tmp_path: Path) -> AsyncIterator[LocalHarness]:
    harness = LocalHarness(tmp_path)
    await harness.open()
    yield harness
    await harness.close()
    for state in tmp_path.glob("engines/*/*/*/state.json"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(json.loads(state.read_text())["shim_pid"], signal.SIGKILL)
    await eventually(lambda: not harness.processes(), what="no engine left")


class TestLocalWorkloads(WorkloadsContract):
    pass


READY, FAILED, LOADING = InstanceState.READY, InstanceState.FAILED, InstanceState.LOADING
DRAINING, STARTING = InstanceState.DRAINING, InstanceState.STARTING


async def test_the_end_of_an_engine_is_reported_with_status_and_last_lines(harness: LocalHarness) -> None:
    (replica,) = (await harness.reach(harness.desired(), READY)).replicas
    await harness.notify(replica, "end/3")
    await eventually(lambda: harness.changes[-1].verb is ReplicaVerb.EXITED, what="told")
    assert ("these are", "the last words") == harness.changes[-1].last_lines
    (after,) = harness.workloads.observe(KEY).replicas
    assert "it ended with status 3; its last lines: these are\nthe last words" == after.message


async def test_the_first_restart_is_at_once_and_later_ones_wait_longer(harness: LocalHarness) -> None:
    await harness.restart(backoff_first_seconds=60.0, backoff_longest_seconds=600.0)
    workload = harness.desired(runtimeCommonArgs=["--fail", "no luck"])
    await harness.workloads.apply(workload)
    observed = await harness.reach(workload, InstanceState.BACK_OFF)

    async def second_end() -> bool:
        return (await harness.workloads.apply(workload)).replicas[0].failures == 2

    await eventually(second_end, what="a second end")
    observed = harness.workloads.observe(KEY)
    assert observed.requeue_seconds is not None
    assert 50 < observed.requeue_seconds <= 60
    assert 1 == observed.replicas[0].restarts


async def test_three_ends_in_a_row_make_it_failed(harness: LocalHarness) -> None:
    observed = await harness.reach(harness.desired(runtimeCommonArgs=["--fail", "no luck"]), FAILED)
    assert "it ended with status 1; its last lines: no luck" == observed.replicas[0].message
    assert observed.replicas[0].failures >= 3


async def test_an_engine_that_served_well_starts_with_a_clean_slate(harness: LocalHarness) -> None:
    await harness.restart(stable_seconds=0.0, backoff_first_seconds=60.0)
    for restarts in range(4):
        (replica,) = (await harness.reach(harness.desired(), READY)).replicas
        assert restarts == replica.restarts
        await harness.end(replica)
        await eventually(lambda: harness.workloads.observe(KEY).replicas[0].state is not READY, what="the end seen")


async def test_a_shim_that_is_killed_takes_its_engine_along_and_both_come_back(harness: LocalHarness) -> None:
    await harness.reach(harness.desired(), READY)
    before = harness.state("app-0")
    os.kill(before["shim_pid"], signal.SIGKILL)
    await eventually(lambda: harness.workloads.observe(KEY).replicas[0].state is not READY, what="the end seen")
    await harness.reach(harness.desired(), READY)
    assert before["pid"] != harness.state("app-0")["pid"]
    assert not Path(f"/proc/{before['pid']}/cwd").exists()


async def test_a_missing_program_is_reported(harness: LocalHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeRuntimes, "command", lambda *_: ["/nowhere/engine"])
    observed = await harness.reach(harness.desired(), FAILED)
    assert "cannot start /nowhere/engine" in observed.replicas[0].message


async def test_an_engine_is_loading_until_its_model_answers(harness: LocalHarness) -> None:
    workload = harness.desired(runtimeCommonArgs=["--load", "0.5"])
    await harness.workloads.apply(workload)
    assert STARTING is harness.workloads.observe(KEY).replicas[0].state
    await harness.reach(workload, READY)
    ready = next(change.message for change in harness.changes if change.verb is ReplicaVerb.READY)
    assert ready.endswith("s to the first token)")


async def test_an_engine_that_is_never_ready_is_ended_and_started_again(harness: LocalHarness) -> None:
    await harness.restart(start_seconds=0.5)
    workload = harness.desired(runtimeCommonArgs=["--load", "60"])

    async def restarted() -> ObservedWorkload | None:
        observed = await harness.workloads.apply(workload)
        return observed if observed.replicas[0].restarts else None

    observed = await eventually(restarted, what="a restart")
    assert observed is not None
    assert "it was not ready within 0 s: it does not answer on /health" in observed.replicas[0].message


async def test_a_deaf_engine_gets_no_traffic_and_then_is_started_again(harness: LocalHarness) -> None:
    await harness.restart(hung_seconds=3.0, health_seconds=0.5)
    (replica,) = (await harness.reach(harness.desired(), READY)).replicas
    await harness.notify(replica, "deaf")
    await eventually(lambda: harness.workloads.observe(KEY).replicas[0].state is LOADING, what="no traffic")
    (after,) = (await harness.reach(harness.desired(), READY, within_seconds=60)).replicas
    assert 1 == after.restarts


async def test_a_replica_that_works_drains_until_it_is_idle(harness: LocalHarness) -> None:
    (replica,) = (await harness.reach(harness.desired(), READY)).replicas
    await harness.notify(replica, "busy/2")
    await harness.workloads.apply(harness.desired(0))
    await asyncio.sleep(0.5)  # nothing may happen meanwhile, which no condition shows
    assert [DRAINING] == [item.state for item in harness.workloads.observe(KEY).replicas]
    assert harness.processes()
    await harness.notify(replica, "busy/0")
    await eventually(lambda: not harness.workloads.observe(KEY).replicas, what="gone")
    assert ("Stopped", ReplicaVerb.EXITED) == (harness.changes[-1].reason, harness.changes[-1].verb)


async def test_a_replica_that_works_on_is_ended_after_its_grace_time(harness: LocalHarness) -> None:
    await harness.restart(grace_seconds=600.0)
    workload = harness.desired(instanceSpec={"terminationGracePeriodSeconds": 1})
    (replica,) = (await harness.reach(workload, READY)).replicas
    await harness.notify(replica, "busy/2")
    await harness.workloads.apply(harness.desired(0, instanceSpec={"terminationGracePeriodSeconds": 1}))
    await eventually(lambda: not harness.workloads.observe(KEY).replicas, what="gone")


async def test_without_memory_for_one_more_an_old_replica_makes_room(harness: LocalHarness) -> None:
    (before,) = (await harness.reach(harness.desired(), READY)).replicas
    harness.available_bytes = 0
    changed = harness.desired(runtimeCommonArgs=["--version", "2"])
    assert [DRAINING] == [item.state for item in (await harness.workloads.apply(changed)).replicas]
    await eventually(lambda: not harness.workloads.observe(KEY).replicas, what="the old one gone")
    refused = await harness.workloads.apply(changed)
    assert refused.refusal is not None
    assert "NotEnoughMemory" == refused.refusal.reason
    harness.available_bytes = REPLICA_BYTES
    (after,) = (await harness.reach(changed, READY)).replicas
    assert harness.workloads.observe(KEY).refusal is None
    assert before.port != after.port


async def test_engines_that_load_count_against_memory(harness: LocalHarness) -> None:
    harness.available_bytes = REPLICA_BYTES + 1
    observed = await harness.workloads.apply(harness.desired(3, runtimeCommonArgs=["--load", "60"]))
    assert 1 == len(observed.replicas)
    assert 1 == len((await harness.workloads.apply(harness.desired(3, runtimeCommonArgs=["--load", "60"]))).replicas)


async def test_a_number_beyond_the_machine_is_a_problem_from_the_first_replica_on(harness: LocalHarness) -> None:
    observed = await harness.workloads.apply(harness.desired(99_999_999, runtimeCommonArgs=["--load", "60"]))
    assert observed.refusal is not None
    assert ("NotEnoughMemory", 2) == (observed.refusal.reason, len(observed.replicas))
    assert (await harness.workloads.apply(harness.desired(2))).refusal is None


async def test_many_replicas_load_a_few_at_a_time(harness: LocalHarness) -> None:
    observed = await harness.workloads.apply(harness.desired(5))
    assert (2, 2.0) == (len(observed.replicas), observed.requeue_seconds)
    await harness.reach(harness.desired(5), *[READY] * 5)


async def test_adoption_knows_ports_restarts_and_readiness(harness: LocalHarness) -> None:
    (first,) = (await harness.reach(harness.desired(), READY)).replicas
    await harness.end(first)
    await eventually(lambda: harness.workloads.observe(KEY).replicas[0].state is not READY, what="the end seen")
    before = await harness.reach(harness.desired(), READY)
    await harness.restart()
    assert [replace(item, failures=1) for item in before.replicas] == list(harness.workloads.observe(KEY).replicas)
    assert before == await harness.workloads.apply(harness.desired())


async def test_a_replica_that_was_stopping_is_not_restarted(harness: LocalHarness) -> None:
    (replica,) = (await harness.reach(harness.desired(2), READY, READY)).replicas[1:]
    await harness.close()
    os.kill(harness.state(replica.name)["shim_pid"], signal.SIGTERM)
    await eventually(lambda: harness.state(replica.name)["status"] == "ended", what="its end")
    harness.workloads = harness._make()
    await harness.open()
    assert ["app-0"] == [item.name for item in harness.workloads.observe(KEY).replicas]


async def test_engines_get_the_spec_s_environment_none_of_arks_own_and_it_is_not_written_down(
    harness: LocalHarness,
) -> None:
    env = [{"name": "LD_BIND_NOW", "value": "1"}, {"name": "FROM", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}]
    await harness.reach(harness.desired(instanceSpec={"env": env}), READY)
    environment = Path(f"/proc/{harness.state('app-0')['pid']}/environ").read_bytes().decode().split("\0")
    names = {line.partition("=")[0] for line in environment if line}
    written = "".join(path.read_text() for path in harness.directory_of("app-0").glob("*.json"))
    assert os.environ["PATH"] not in written
    assert {"PATH", "LD_BIND_NOW"} == names - {"LC_CTYPE"}


async def test_a_variable_gets_its_value_from_a_secret(harness: LocalHarness) -> None:
    reference = {"name": "hub", "key": "token"}
    env = [{"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": reference}}]
    refused = (await harness.workloads.apply(harness.desired(instanceSpec={"env": env}))).refusal
    assert refused is not None
    assert ("EnvironmentBad", True) == (refused.reason, "HF_TOKEN: Secret hub does not exist" in refused.message)
    await LocalSecrets(harness.directory / "secrets").write(Key("default", "hub"), {"token": "aGZfc2VjcmV0"})
    await harness.reach(harness.desired(instanceSpec={"env": env}), READY)
    environment = Path(f"/proc/{harness.state('app-0')['pid']}/environ").read_bytes().decode().split("\0")
    written = "".join(path.read_text() for path in harness.directory_of("app-0").glob("*.json"))
    assert "HF_TOKEN=hf_secret" in environment
    assert "hf_secret" not in written


async def test_fields_without_effect_here_are_in_the_status(harness: LocalHarness) -> None:
    fields = {"nodeSelector": {"gpu": "a"}, "env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}]}
    observed = await harness.workloads.apply(harness.desired(0, instanceSpec=fields))
    expected = "instanceSpec.nodeSelector, instanceSpec.env[0].valueFrom.fieldRef have no effect on one machine"
    assert expected == observed.note


async def test_names_of_any_kind_stay_below_the_engines_directory(harness: LocalHarness) -> None:
    await harness.reach(harness.desired(), READY)
    assert ["app-0"] == [path.name for path in (harness.directory / "engines/default/app").iterdir()]
    assert 0o700 == (harness.directory_of("app-0")).stat().st_mode & 0o777
    assert 0o600 == (harness.directory_of("app-0") / "launch.json").stat().st_mode & 0o777


async def test_an_engine_that_reads_ahead_becomes_the_engine(harness: LocalHarness) -> None:
    """Its process is the engine's: it answers, and it ends with its replica."""
    observed = await harness.reach(harness.desired(loading="auto"), InstanceState.READY)
    name = observed.replicas[0].name
    command = Path(f"/proc/{harness.state(name)['pid']}/cmdline").read_text().split("\0")
    assert (fake_engine.__file__, "-c" in command) == (command[3], False)
    assert "read-ahead: 0 MB in" in (harness.directory_of(name) / "engine.log").read_text()


async def test_a_way_to_load_that_the_engine_does_not_have_is_refused(harness: LocalHarness) -> None:
    desired = harness.desired(loading="streamer")
    refusal = harness.workloads.problem(desired.application)
    assert refusal is not None
    assert "loading: runtime llamacpp has no streamer; leave loading out" == refusal.message
    assert refusal == (await harness.workloads.apply(desired)).refusal
