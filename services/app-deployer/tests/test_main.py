"""The whole service with real engines and a small real model."""

import asyncio
import json
import os
import re
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from google.protobuf.json_format import Parse
from prometheus_client import generate_latest

from arks.app_deployer.testing.engine_server import TOOLS_TEMPLATE
from arks.contracts.resources import ApplicationPhase, ArksApplicationStatus
from arks.events.v1 import facts_pb2
from arks.events.v1.events_pb2 import ResourceEvent
from arks.kit.key import Key
from arks.kit.testing.wait import eventually

if TYPE_CHECKING:
    from conftest import ServiceHarness

pytestmark = pytest.mark.real
APP = Key("default", "app")
READY = int(facts_pb2.REPLICA_STATE_READY)
DRAINING = int(facts_pb2.REPLICA_STATE_DRAINING)


def conditions(status: ArksApplicationStatus) -> dict[str, tuple[str, str]]:
    return {item.type: (item.status.value, item.reason) for item in status.conditions}


def message(status: ArksApplicationStatus, type_: str = "Ready") -> str:
    return next(item.message for item in status.conditions if item.type == type_)


def engine_pid(deployer: "ServiceHarness", replica: str) -> int:
    return int(json.loads((deployer.engines / "default" / "app" / replica / "state.json").read_text())["pid"])


@pytest.mark.parametrize("runtime", ["llamacpp", "ark"])
async def test_an_application_runs_when_its_model_has_answered(runtime: str, deployer: "ServiceHarness") -> None:
    await deployer.start()
    await deployer.apply(runtime=runtime)
    status = await deployer.until(lambda status: status.phase is ApplicationPhase.RUNNING, what="Running")
    assert (1, 1, 1, 1) == (
        status.replicas,
        status.ready_replicas,
        status.updated_replicas,
        status.observed_generation,
    )
    assert {
        "Precheck": ("True", "PrecheckPass"),
        "Loaded": ("True", "ModelLoadSucceeded"),
        "Ready": ("True", "Running"),
        "Progressing": ("True", "Complete"),
    } == conditions(status)
    (instance,) = status.instances
    async with httpx.AsyncClient(timeout=60) as client:
        chat = {"model": "smollm2", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 3}
        answer = await client.post(f"http://{instance.address}/v1/chat/completions", json=chat)
    assert ("smollm2", 3) == (answer.json()["model"], answer.json()["usage"]["completion_tokens"])


def states(deployer: "ServiceHarness") -> dict[str, int]:
    """Replica -> state, as the fact has it."""
    fact = deployer.replicas.get(APP)
    return {item.name: item.state for item in fact.replicas} if fact else {}


async def test_a_killed_engine_is_removed_from_the_fact_at_once_and_restarted(deployer: "ServiceHarness") -> None:
    events = await Events.of(deployer)
    await deployer.start(liveness_seconds=600.0)  # it is the end that is noticed, not a missing answer
    await deployer.apply()
    (before,) = await deployer.until_ready(1)
    await eventually(lambda: states(deployer) == {"app-0": READY}, what="ready in the fact")
    reported = asyncio.Event()
    deployer.replicas.subscribe(lambda _: reported.set() if states(deployer) != {"app-0": READY} else None)
    os.kill(engine_pid(deployer, "app-0"), signal.SIGKILL)
    await asyncio.wait_for(reported.wait(), 30)
    await deployer.until(lambda status: status.instances[0].restarts == 1, what="a restart")
    (after,) = await deployer.until_ready(1)
    assert before.address != after.address
    assert 1 == after.restarts
    await eventually(lambda: events.verbs.count("replica-ready") == 2, what="events")
    assert ["created", "replica-started", "replica-ready", "running", "replica-exited"] == events.verbs[:5]
    exited = events.of_verb("replica-exited")
    assert "SIGKILL" in exited.message
    assert exited.replica.last_lines


async def test_a_restarted_app_deployer_adopts_engines_and_never_takes_them_from_the_router(
    deployer: "ServiceHarness",
) -> None:
    await deployer.start()
    await deployer.apply(replicas=2)
    await deployer.until_ready(2)
    pids = {engine_pid(deployer, name) for name in ("app-0", "app-1")}
    ready = {"app-0": READY, "app-1": READY}
    await eventually(lambda: states(deployer) == ready, what="both in the fact")
    observed: list[dict[str, int]] = []
    deployer.replicas.subscribe(lambda _: observed.append(states(deployer)))
    await deployer.stop()
    await deployer.start()
    os.kill(engine_pid(deployer, "app-1"), signal.SIGKILL)
    await deployer.until(lambda status: [item.restarts for item in status.instances] == [0, 1], what="one restart")
    await deployer.until_ready(2)
    assert engine_pid(deployer, "app-0") in pids
    assert all(item.get("app-0") == READY for item in observed)


async def test_engines_outlive_a_killed_app_deployer_and_the_next_one_adopts_them(deployer: "ServiceHarness") -> None:
    environment = {
        **os.environ,
        "ARKS_NATS_URL": deployer.settings.nats_url,
        "ARKS_STATE_DIR": str(deployer.settings.state_dir),
        "ARKS_SUPERVISOR_PID": str(os.getpid()),
        "ARKS_ENGINE_SLOTS": str(deployer.settings.engine_slots),
    }
    command = (sys.executable, "-m", "arks.app_deployer.main")
    program = await asyncio.create_subprocess_exec(*command, env=environment, stderr=asyncio.subprocess.DEVNULL)
    await deployer.apply()
    (instance,) = await deployer.until_ready(1)
    pid = engine_pid(deployer, "app-0")
    program.kill()
    await program.wait()
    async with httpx.AsyncClient(base_url=f"http://{instance.address}", timeout=60) as client:
        assert 200 == (await client.post("/v1/completions", json={"prompt": "hi", "max_tokens": 1})).status_code
        await deployer.start()
        await deployer.apply(replicas=2)
        await deployer.until_ready(2)
        assert 200 == (await client.get("/health")).status_code
    assert pid == engine_pid(deployer, "app-0")


async def test_an_engine_that_ended_while_app_deployer_was_down_is_restarted(deployer: "ServiceHarness") -> None:
    await deployer.start()
    await deployer.apply()
    await deployer.until_ready(1)
    await deployer.stop()
    os.kill(engine_pid(deployer, "app-0"), signal.SIGKILL)
    await eventually(lambda: not deployer.processes(), what="the end of both")
    await deployer.start()
    await deployer.until(lambda status: status.instances[0].restarts == 1, what="a restart")
    await deployer.until_ready(1)


async def test_a_running_stream_completes_while_its_replica_drains(deployer: "ServiceHarness") -> None:
    await deployer.start()
    await deployer.apply()
    await deployer.until_ready(1)
    await deployer.apply(replicas=2)
    _, terminating = await deployer.until_ready(2)
    body = {"prompt": "Once", "max_tokens": 200, "stream": True, "ignore_eos": True}
    events, last = 0, ""
    async with (
        httpx.AsyncClient(timeout=60) as client,
        client.stream("POST", f"http://{terminating.address}/v1/completions", json=body) as answer,
    ):
        lines = answer.aiter_lines()
        await anext(lines)
        await deployer.apply(replicas=1)
        await eventually(lambda: states(deployer).get("app-1") == DRAINING, what="draining in the fact")
        async for line in lines:
            events += line.startswith("data: {")
            last = line or last
    assert "data: [DONE]" == last
    assert events >= 190
    await deployer.until_ready(1)
    await eventually(lambda: states(deployer) == {"app-0": READY}, what="one left in the fact")
    assert not (deployer.engines / "default" / "app" / "app-1").exists()
    await eventually(lambda: len(deployer.processes()) == 2, what="one shim and one engine")


async def test_a_stream_longer_than_the_grace_time_is_cut(deployer: "ServiceHarness") -> None:
    await deployer.start()
    await deployer.apply(instanceSpec={"terminationGracePeriodSeconds": 1})
    (instance,) = await deployer.until_ready(1)
    body = {"prompt": "Once", "max_tokens": 4000, "stream": True, "ignore_eos": True}
    async with httpx.AsyncClient(timeout=60) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            async with client.stream("POST", f"http://{instance.address}/v1/completions", json=body) as answer:
                lines = answer.aiter_lines()
                await anext(lines)
                await deployer.apply(replicas=0, instanceSpec={"terminationGracePeriodSeconds": 1})
                async for _ in lines:
                    pass
    status = await deployer.until(lambda status: not status.instances, what="nothing left")
    assert (ApplicationPhase.PENDING, ("False", "ScaledToZero")) == (status.phase, conditions(status)["Ready"])


async def test_a_new_spec_is_ready_before_the_old_one_drains(deployer: "ServiceHarness") -> None:
    await deployer.start()
    await deployer.apply()
    await deployer.until_ready(1)
    observed: list[dict[str, int]] = []
    await eventually(lambda: states(deployer) == {"app-0": READY}, what="ready in the fact")
    deployer.replicas.subscribe(lambda _: observed.append(states(deployer)))
    await deployer.apply(runtimeCommonArgs=["--ctx-size", "2048"])
    status = await deployer.until(
        lambda status: [item.name for item in status.instances] == ["app-1"] and status.ready_replicas == 1,
        what="the new one alone",
    )
    assert (1, 2) == (status.updated_replicas, status.observed_generation)
    assert all(READY in item.values() for item in observed)


async def test_what_the_model_s_template_lacks_is_in_the_fact_and_follows_the_engine(
    deployer: "ServiceHarness", tmp_path: Path
) -> None:
    def unsupported() -> set[str]:
        fact = deployer.replicas.get(APP)
        return set(fact.unsupported) & {"tools", "tool_choice.required"} if fact is not None else set()

    await deployer.start()
    await deployer.apply()
    await eventually(lambda: {"tools"} == unsupported(), what="no tools", within_seconds=60)
    await deployer.stop()
    await deployer.start()
    await eventually(lambda: {"tools"} == unsupported(), what="no tools of an adopted engine", within_seconds=60)
    template = tmp_path / "template.jinja"
    template.write_text(TOOLS_TEMPLATE)
    await deployer.apply(runtimeCommonArgs=["--chat-template-file", str(template)])
    await eventually(lambda: {"tool_choice.required"} == unsupported(), what="tools", within_seconds=60)


async def test_a_changed_number_of_replicas_restarts_nothing(deployer: "ServiceHarness") -> None:
    await deployer.start()
    await deployer.apply()
    await deployer.until_ready(1)
    pid = engine_pid(deployer, "app-0")
    await deployer.apply(replicas=2)
    await deployer.until_ready(2)
    assert pid == engine_pid(deployer, "app-0")


async def test_a_hung_engine_is_ended_and_started_again(deployer: "ServiceHarness") -> None:
    await deployer.start(liveness_seconds=0.1, hung_seconds=3.0, health_seconds=0.5)
    await deployer.apply()
    await deployer.until_ready(1)
    os.kill(engine_pid(deployer, "app-0"), signal.SIGSTOP)
    await eventually(lambda: states(deployer) != {"app-0": READY}, what="out of the fact")
    await deployer.until(lambda status: status.instances[0].restarts == 1, what="a restart")
    await deployer.until_ready(1)


@pytest.mark.parametrize(("content", "why"), [(b"\0" * 4096, "is not a GGUF file"), (None, "there is no file")])
async def test_a_bad_model_file_is_reported_until_it_is_replaced(
    deployer: "ServiceHarness", tmp_path: Path, content: bytes | None, why: str
) -> None:
    path = tmp_path / "model.gguf"
    if content is not None:
        path.write_bytes(content)
    deployer.model(path)
    await deployer.start()
    await deployer.apply()
    status = await deployer.until(lambda status: status.phase is ApplicationPhase.FAILED, what="Failed")
    assert ("False", "ModelFileBad") == conditions(status)["Ready"]
    assert why in message(status)
    assert str(path) in message(status)
    deployer.model()
    await deployer.until_ready(1)


async def test_a_model_larger_than_memory_is_refused_with_numbers(deployer: "ServiceHarness") -> None:
    await deployer.start()
    await deployer.apply(runtimeCommonArgs=["--ctx-size", "2000000000"])
    status = await deployer.until(lambda status: status.phase is ApplicationPhase.FAILED, what="Failed")
    assert ("False", "NotEnoughMemory") == conditions(status)["Ready"]
    assert re.search(r"takes \d{6,} MiB of memory \(93 MiB of them weights\), \d+ MiB are available", message(status))
    assert [] == status.instances


async def test_a_wrong_argument_is_reported_before_any_start(deployer: "ServiceHarness") -> None:
    await deployer.start()
    await deployer.apply(runtimeCommonArgs=["--no-such-thing", "1"])
    status = await deployer.until(lambda status: status.phase is ApplicationPhase.FAILED, what="Failed")
    assert ("False", "ArgumentsBad") == conditions(status)["Ready"]
    assert "--no-such-thing" in message(status)


async def test_a_crash_loop_is_reported_with_last_lines_and_can_be_fixed(
    deployer: "ServiceHarness",
) -> None:
    await deployer.start()
    await deployer.apply(runtimeCommonArgs=["--chat-template-file", "/nowhere/template"])
    status = await deployer.until(lambda status: status.phase is ApplicationPhase.FAILED, what="Failed")
    assert ("False", "EngineCrashLoop") == conditions(status)["Ready"]
    assert re.match(r"app-0 ended \(\d+ times in a row\): it ended with status 1; its last lines: ", message(status))
    assert "No such file or directory: '/nowhere/template'" in message(status)
    assert (deployer.engines / "default/app/app-0/engine.log.1").exists()
    await deployer.apply()
    await deployer.until(lambda status: status.phase is ApplicationPhase.RUNNING, what="Running")


async def test_the_old_replica_serves_on_if_an_update_crashes(deployer: "ServiceHarness") -> None:
    await deployer.start()
    await deployer.apply()
    await deployer.until_ready(1)
    await deployer.apply(runtimeCommonArgs=["--chat-template-file", "/nowhere/template"])
    status = await deployer.until(lambda status: "app-1 ended (" in message(status), what="a crash loop of the new one")
    assert (ApplicationPhase.RUNNING, ("True", "Running")) == (status.phase, conditions(status)["Ready"])
    assert "1 of 1 replicas serve; app-1 ended" in message(status)
    assert READY == states(deployer)["app-0"]


async def test_without_its_model_an_application_waits_and_goes_on_when_it_comes(deployer: "ServiceHarness") -> None:
    deployer.no_model()
    await deployer.start()
    await deployer.apply()
    status = await deployer.until(lambda status: True, what="a status")
    assert (ApplicationPhase.LOADING, ("False", "ModelNotExist")) == (status.phase, conditions(status)["Loaded"])
    deployer.model(ready=False, reason="ModelLoadFailed", message="404 from the hub")
    status = await deployer.until(lambda status: status.phase is ApplicationPhase.FAILED, what="Failed")
    assert ("False", "ModelLoadFailed") == conditions(status)["Loaded"]
    assert "404 from the hub" in message(status, "Loaded")
    deployer.model()
    await deployer.until(lambda status: status.phase is ApplicationPhase.RUNNING, what="Running")


async def test_deleting_the_model_of_a_running_application_keeps_it_running(deployer: "ServiceHarness") -> None:
    await deployer.start()
    await deployer.apply()
    await deployer.until_ready(1)
    deployer.no_model()
    status = await deployer.until(lambda status: conditions(status)["Loaded"][0] == "False", what="Loaded False")
    assert (ApplicationPhase.RUNNING, ("False", "ModelNotExist")) == (status.phase, conditions(status)["Loaded"])
    assert "go on serving" in message(status, "Loaded")
    assert {"app-0": READY} == states(deployer)


async def test_deletion_stops_the_engines_and_removes_their_files(deployer: "ServiceHarness") -> None:
    events = await Events.of(deployer)
    await deployer.start()
    await deployer.apply(replicas=2)
    await deployer.until_ready(2)
    await deployer.applications.delete(APP)

    async def removed() -> bool:
        return await deployer.applications.read(APP) is None

    await eventually(removed, what="the resource gone")
    await eventually(lambda: not deployer.processes(), what="no process left")
    assert not (deployer.engines / "default" / "app").exists()
    await eventually(lambda: deployer.replicas.get(APP) is None, what="no fact")
    await eventually(lambda: "deleted" in events.verbs, what="the event")


async def test_engines_of_an_application_deleted_during_downtime_are_stopped(deployer: "ServiceHarness") -> None:
    await deployer.start()
    await deployer.apply()
    await deployer.until_ready(1)
    await deployer.stop()
    await deployer.applications.remove_finalizer(APP, "application.arks.ai/controller")
    await deployer.applications.delete(APP)
    assert deployer.processes()
    await deployer.start()
    await eventually(lambda: not deployer.processes(), what="no process left")
    await eventually(lambda: deployer.replicas.get(APP) is None, what="no fact")


async def test_gpu_runtimes_are_refused_with_an_alternative_and_can_be_changed(deployer: "ServiceHarness") -> None:
    await deployer.start()
    await deployer.apply(runtime="vllm", tensorParallelSize=2)
    status = await deployer.until(lambda status: status.phase is ApplicationPhase.FAILED, what="Failed")
    assert ("False", "RuntimeNotSupport") == conditions(status)["Precheck"]
    assert "the program vllm is not installed; use runtime llamacpp" in message(status, "Precheck")
    await deployer.apply()
    await deployer.until(lambda status: status.phase is ApplicationPhase.RUNNING, what="Running")


async def test_metrics_count_replicas_restarts_and_starts(deployer: "ServiceHarness") -> None:
    await deployer.start()
    await deployer.apply()
    await deployer.until_ready(1)
    os.kill(engine_pid(deployer, "app-0"), signal.SIGKILL)
    await deployer.until(lambda status: status.instances[0].restarts == 1, what="a restart")
    await deployer.until_ready(1)
    text = generate_latest(deployer.home.registry).decode()
    assert 'arks_replicas{application="app",namespace="default",state="Ready"} 1.0' in text
    assert 'arks_engine_restarts_total{application="app",namespace="default"} 1.0' in text
    assert "arks_engine_start_seconds_count 2.0" in text
    assert 'arks_engine_start_phase_seconds_count{phase="warm-up"} 2.0' in text


class Events:
    """Events of applications as anybody can read them."""

    def __init__(self) -> None:
        self._seen: list[tuple[str, ResourceEvent]] = []

    @classmethod
    async def of(cls, deployer: "ServiceHarness") -> "Events":
        events = cls()
        await deployer.people.bus.jetstream.subscribe("arks.events.application.>", cb=events._take)
        return events

    async def _take(self, message: Any) -> None:
        verb = message.subject.split(".")[3]
        self._seen.append((verb, Parse(message.data, ResourceEvent())))

    @property
    def verbs(self) -> list[str]:
        return [verb for verb, _ in self._seen]

    def of_verb(self, desired: str) -> ResourceEvent:
        return next(event for verb, event in self._seen if verb == desired)
