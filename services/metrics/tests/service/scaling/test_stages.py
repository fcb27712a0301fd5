"""Autoscalers of the stages of a disaggregated application: each counts the work of its own engines."""

from collections.abc import Iterable

import pytest

from arks.contracts.facts import ReplicaFact, ReplicaState
from arks.contracts.resources import ArksAutoscaler
from arks.events.v1.facts_pb2 import ReplicasFact, StageFact
from arks.kit.key import Key
from arks.kit.testing.clock import FakeClock
from arks.metrics.domain.engines import Snapshot
from arks.metrics.domain.rates import Rates
from arks.metrics.domain.replicas import Reading, Replica, ReplicaReport
from arks.metrics.domain.scaling.traffic import Ended
from arks.metrics.testing.scaling import FakePodAutoscalers, Harness, Watch

PD, PREFILL, DECODE = Key("default", "pd"), Key("default", "pd/prefill"), Key("default", "pd/decode")
ROUTER = "10.0.0.9:8080"


class Stages(Harness):
    """A router, and engines of four slots in each stage."""

    def scaler(self, stage: str = "decode") -> None:
        self.apply(stage, target={"kind": "ArksDisaggregatedApplication", "name": "pd", "stage": stage})

    def serve_stages(
        self, *, prefill: Iterable[float] = (0,), decode: Iterable[float] = (0,), routers: float = 0, pages: bool = True
    ) -> None:
        """Running requests by engine, and those that the router's page counts. `pages`: whether engines have one."""
        running = {"prefill": list(prefill), "decode": list(decode)}
        engines = {
            stage: [
                ReplicaFact(f"{stage}-{number}", f"{stage}-{number}", 8080, ReplicaState.READY, slots=4)
                for number in range(len(loads))
            ]
            for stage, loads in running.items()
        }
        stages = [
            StageFact(
                name=stage,
                runtime="vllm" if pages else "",
                desired=len(found),
                replicas=[replica.to_message() for replica in found],
            )
            for stage, found in engines.items()
        ]
        router = ReplicaFact("router", "10.0.0.9", 8080, ReplicaState.READY)
        fact = ReplicasFact(namespace="default", application="pd", served_model="m", runtime="ark", desired=1)
        fact.replicas.append(router.to_message())
        fact.stages.extend(stages)
        self.watches[PD] = self._watch([router], [routers])
        for stage, key in (("prefill", PREFILL), ("decode", DECODE)):
            self.watches[key] = self._watch(engines[stage], running[stage])
        self.replicas.apply(PD, fact)

    def _watch(self, replicas: list[ReplicaFact], running: list[float]) -> Watch:
        watch = Watch()
        for replica, load in zip(replicas, running, strict=True):
            page = Snapshot(running_requests=load, waiting_requests=0.0, generation_tokens=1.0, prompt_tokens=1.0)
            key = Replica(replica.name, replica.host, replica.port, replica.slots)
            watch.pages[key] = ReplicaReport(Reading(page, Rates(1.0, 100.0, 10.0), self.clock.now(), 0.001), "")
        return watch

    async def decide(self, stage: str) -> int | None:
        self.clock.advance(5)
        await self.scalers.reconcile(Key("default", stage))
        fact = self.facts.get(Key("default", stage))
        assert fact is None or (fact.application, fact.stage) == ("pd", stage)
        return None if fact is None else fact.replicas


@pytest.fixture
def harness(clock: FakeClock) -> Stages:
    return Stages(clock)


async def test_each_stage_is_scaled_by_the_requests_in_its_own_engines(harness: Stages) -> None:
    harness.scaler("prefill")
    harness.scaler("decode")
    harness.serve_stages(prefill=[1], decode=[4, 4])
    assert (1, 4) == (await harness.decide("prefill"), await harness.decide("decode"))


async def test_engines_without_a_page_are_measured_by_that_of_their_router(harness: Stages) -> None:
    harness.scaler()
    harness.serve_stages(decode=[0, 0], routers=7, pages=False)
    seen = harness.applications.observed(DECODE)
    assert (2, 8, 7.0) == (seen.ready, seen.slots, seen.in_flight)
    assert 4 == await harness.decide("decode")


def test_the_work_of_prefill_is_prompts_and_that_of_decode_is_answers(harness: Stages) -> None:
    harness.serve_stages()
    harness.applications.take("default", "m", Ended(ROUTER, 1000, 20))
    tokens = {key: harness.applications.observed(key).tokens for key in (PREFILL, DECODE)}
    rates = {key: harness.applications.observed(key).tokens_per_second for key in (PREFILL, DECODE)}
    assert {PREFILL: 1000.0, DECODE: 20.0} == tokens
    assert rates[PREFILL] != rates[DECODE]


async def test_held_requests_start_both_stages(harness: Stages) -> None:
    harness.serve_stages(prefill=[], decode=[])
    assert {PREFILL, DECODE} <= harness.applications.take_held("default", {"m"}, "one", 1, 0.0)


async def test_engines_that_all_stand_still_while_the_router_answers_are_not_believed(harness: Stages) -> None:
    harness.serve_stages(decode=[0, 0])
    for _ in range(12):
        harness.clock.advance(5)
        harness.applications.take("default", "m", Ended(ROUTER, 10, 10))
        seen = harness.applications.observed(DECODE)
    assert "reports no work" in seen.doubt


async def test_two_autoscalers_of_one_stage_are_one_too_many(harness: Stages) -> None:
    harness.scaler("decode")
    harness.apply("other", target={"kind": "ArksDisaggregatedApplication", "name": "pd", "stage": "decode"})
    harness.serve_stages()
    assert (1, None) == (await harness.decide("decode"), await harness.decide("other"))


async def test_a_disaggregated_application_is_no_application_of_one_kind_of_engine(harness: Stages) -> None:
    harness.apply("chat", target={"name": "pd"})
    harness.serve_stages()
    assert await harness.decide("chat") is None
    assert "NoApplication" == harness.status.reason


async def test_a_stage_has_no_horizontal_pod_autoscaler_and_app_deployer_follows_the_fact(harness: Stages) -> None:
    harness.pod_autoscalers = FakePodAutoscalers()
    harness.restart()
    harness.scaler()
    harness.serve_stages(decode=[4])
    assert 2 == await harness.decide("decode")
    fact = harness.facts.get(Key("default", "decode"))
    assert fact is not None
    assert not fact.by_horizontal_pod_autoscaler
    assert [] == harness.pod_autoscalers.carried_out


def test_the_kind_of_the_target_and_the_stage_belong_together() -> None:
    target = {"kind": "ArksDisaggregatedApplication", "name": "pd", "stage": "prefill"}
    spec = {"target": target, "maxReplicas": 2, "objectives": {"waitingRequests": 1}}
    found = ArksAutoscaler.from_dict({"metadata": {"name": "a"}, "spec": spec})
    assert "prefill" == found.spec.target.stage
