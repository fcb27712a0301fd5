"""Prefill and decode apart on one machine."""

import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

from arks.app_deployer.adapters.local.disaggregated import ApartRuntimes, LocalDisaggregatedWorkloads, as_workload
from arks.app_deployer.adapters.local.runtimes import ark_requirements
from arks.app_deployer.adapters.local.wiring import local_options
from arks.app_deployer.adapters.local.workloads import LocalWorkloads
from arks.app_deployer.adapters.metrics import EngineMetrics
from arks.app_deployer.adapters.probe import HttpProbe
from arks.app_deployer.adapters.profiles import read_profiles
from arks.app_deployer.config import Settings
from arks.app_deployer.domain.disaggregated import ObservedDisaggregated
from arks.app_deployer.domain.launch.local_commands import EngineParameters
from arks.contracts.resources import ArksDisaggregatedApplication, InstanceState
from arks.events.v1.facts_pb2 import ModelFact
from arks.kit.clock import SystemClock
from arks.kit.key import Key
from arks.kit.testing.fakes import FakeSecrets
from arks.kit.testing.servers import small_model
from arks.kit.testing.wait import eventually

PROFILES = read_profiles()
KEY = Key("default", "pd")
SMALL = ["--parallel", "1", "--ctx-size", "512"]


def app(**fields: Any) -> ArksDisaggregatedApplication:
    spec = {"runtime": "ark", "model": {"name": "m"}, "router": {}, "prefill": {}, "decode": {}} | fields
    manifest = {"kind": "ArksDisaggregatedApplication", "metadata": {"name": "pd"}, "spec": spec}
    return ArksDisaggregatedApplication.from_dict({"apiVersion": "arks.ai/v1"} | manifest)


def test_one_program_runs_the_router_and_all_engines() -> None:
    made = as_workload(app(prefill={"runtimeCommonArgs": ["--batch-size 64"]}, decode={"replicas": 2}))
    command = ApartRuntimes(PROFILES).command(made.spec, EngineParameters("/m.gguf", port=7, threads=6, slots=4))
    assert [
        *(sys.executable, "-m", "arks.openai_proxy.programs.with_engine", "--host", "127.0.0.1", "--port", "7"),
        *("--prefillers", "1", "--decoders", "2", "--prefill-arguments", '["--batch-size","64"]'),
        *("--decode-arguments", "[]", "--", sys.executable, "-m", "arks.ark_engine.main"),
        *("--parallel", "4", "--threads", "2", "--model", "/m.gguf", "--served-model-name", "m"),
    ] == command


@pytest.mark.parametrize("stage", ["router", "prefill", "decode"])
def test_without_replicas_of_a_part_nothing_runs(stage: str) -> None:
    assert 0 == as_workload(app(**{stage: {"replicas": 0}})).spec.replicas


async def test_memory_and_slots_are_those_of_all_engines() -> None:
    spec = as_workload(
        app(prefill={"runtimeCommonArgs": SMALL}, decode={"replicas": 2, "runtimeCommonArgs": SMALL})
    ).spec
    found = await ApartRuntimes(PROFILES).requirements(spec, str(small_model()), slots=4)
    single = await ark_requirements(SMALL, str(small_model()), 4)
    assert (3 * single.memory_bytes, 2) == (found.memory_bytes, found.slots)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"runtime": "vllm"}, "with runtime vllm need Kubernetes"),
        ({"router": {"replicas": 2}}, "set router.replicas to 1"),
        ({"decode": {"size": 2}}, "decode: a replica of 2 nodes needs Kubernetes"),
        ({"prefill": {"leaderCommandOverride": ["run"]}}, "prefill.leaderCommandOverride needs Kubernetes"),
    ],
)
def test_what_one_machine_cannot_run_is_refused(
    fields: dict[str, Any], message: str, workloads: LocalDisaggregatedWorkloads
) -> None:
    assert workloads.problem(app()) is None
    refusal = workloads.problem(app(**fields))
    assert refusal is not None
    assert message in refusal.message


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(state_dir=tmp_path, drain_settle_seconds=0.0)


@pytest.fixture
def probe() -> HttpProbe:
    return HttpProbe(health_seconds=5.0, answer_seconds=60.0)


@pytest.fixture
def engines(settings: Settings, probe: HttpProbe) -> LocalWorkloads:
    return LocalWorkloads(
        local_options(settings),
        probe=probe,
        clock=SystemClock(),
        metrics=EngineMetrics(CollectorRegistry()),
        environment={},
        profiles=PROFILES,
        secrets=FakeSecrets(),
        runtimes=ApartRuntimes(PROFILES),
    )


@pytest.fixture
def workloads(engines: LocalWorkloads) -> LocalDisaggregatedWorkloads:
    return LocalDisaggregatedWorkloads(engines, grace_seconds=1.0)


@pytest.mark.real
@pytest.mark.timeout(300)
async def test_from_nothing_to_answers_to_nothing(
    workloads: LocalDisaggregatedWorkloads, engines: LocalWorkloads, probe: HttpProbe
) -> None:
    model = ModelFact(namespace="default", name="m", ready=True, path=str(small_model()))
    small = {"runtimeCommonArgs": SMALL}
    await probe.start()
    await engines.start()
    try:
        await workloads.apply(app(prefill=small, decode=small), model)

        def serving() -> ObservedDisaggregated | None:
            observed = workloads.observe(KEY)
            return observed if observed.serving else None

        observed = await eventually(serving, within_seconds=120, what="a router that answers")
        assert observed is not None
        (router,), (decoder,) = observed.router.replicas, observed.decode.replicas
        assert ("pd-decode-0", InstanceState.READY, 1) == (decoder.name, decoder.state, router.slots)
        url = f"http://{router.host}:{router.port}"
        async with aiohttp.ClientSession(url, raise_for_status=True) as http:

            async def handed_over() -> bool:
                """The decoder computes prompts itself until the prefiller has its model."""
                async with http.get("/v1/models") as answer:
                    (served,) = (await answer.json())["data"]
                hello = {"model": served["id"], "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
                async with http.post("/v1/chat/completions", json=hello), http.get("/metrics") as answer:
                    page = await answer.text()
                counts = [
                    line for line in page.splitlines() if line.startswith("ark_engine_handed_over_prompts_total ")
                ]
                return any(not line.endswith(" 0.0") for line in counts)

            await eventually(handed_over, within_seconds=60, every_seconds=0.5, what="a prompt of the prefiller")
        mistyped = await workloads.apply(app(prefill=small | {"replicas": 99_999_999}, decode=small), model)
        assert (True, 1, 1) == (mistyped.serving, len(mistyped.prefill.replicas), len(mistyped.decode.replicas))
        assert mistyped.refusal is not None
        assert "NotEnoughMemory" == mistyped.refusal.reason
        await workloads.remove(KEY)

        async def removed() -> bool:
            return not (await workloads.remove(KEY)).terminating

        await eventually(removed, within_seconds=60, what="nothing runs")
        assert set() == workloads.keys()
    finally:
        await workloads.remove(KEY)
        await engines.close()
        await probe.close()
