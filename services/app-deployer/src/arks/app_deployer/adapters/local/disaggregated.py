"""Disaggregated applications on one machine: runtime ark, whose router and engines of both stages are one program.

The program is one replica of a workload, kept like any engine. If one of its processes ends, all of them start again.
"""

import json
from collections.abc import Callable
from dataclasses import replace

from arks.app_deployer.adapters.local.runtimes import EngineRequirements, ark_requirements
from arks.app_deployer.adapters.local.workloads import LocalWorkloads
from arks.app_deployer.domain import checks
from arks.app_deployer.domain.disaggregated import STAGES, ObservedDisaggregated, on_one_machine
from arks.app_deployer.domain.launch.arguments import as_arguments
from arks.app_deployer.domain.launch.local_commands import EngineParameters, engine_command
from arks.app_deployer.domain.launch.options import number_of
from arks.app_deployer.domain.launch.profile_set import Profiles
from arks.app_deployer.domain.workload import ObservedWorkload, Refusal, Workload
from arks.contracts.manifests import one_machine
from arks.contracts.resources import ArksApplication, ArksApplicationSpec, ArksDisaggregatedApplication, Runtime
from arks.events.v1.facts_pb2 import ModelFact
from arks.kit.key import Key


class ApartRuntimes:
    """Requirements and command of the program, from the arguments that `as_workload` gives it."""

    def __init__(self, profiles: Profiles) -> None:
        self._profiles = profiles

    async def requirements(self, spec: ArksApplicationSpec, model_path: str, slots: int) -> EngineRequirements:
        """Of all engines together; slots are those of the decoders. Raises Refused."""
        engines, arguments = _read(spec)
        each = {stage: await ark_requirements(arguments[stage], model_path, slots) for stage in STAGES}
        return EngineRequirements(
            each["decode"].model_path,
            memory_bytes=sum(engines[stage] * each[stage].memory_bytes for stage in STAGES),
            weights_bytes=sum(engines.values()) * each["decode"].weights_bytes,
            slots=engines["decode"] * each["decode"].slots,
        )

    def command(self, spec: ArksApplicationSpec, engine: EngineParameters) -> list[str]:
        engines, _ = _read(spec)
        threads = max(1, engine.threads // sum(engines.values())) if engine.threads else 0
        own = EngineParameters(engine.model_path, engine.port, threads, engine.slots)
        return engine_command(spec, own, self._profiles, disaggregated=True)


def as_workload(application: ArksDisaggregatedApplication) -> ArksApplication:
    """The application whose engine is the program with all parts."""
    spec = application.spec
    stages = {"prefill": spec.prefill, "decode": spec.decode}
    arguments = {
        stage: json.dumps(as_arguments(workload.runtime_common_args), separators=(",", ":"))
        for stage, workload in stages.items()
    }
    running = all(workload.replicas for workload in stages.values())
    given = {
        "replicas": spec.router.replicas if running else 0,
        "runtime": Runtime.ARK.value,
        "model": {"name": spec.model.name},
        "servedModelName": spec.served_name,
        "runtimeCommonArgs": [
            *("--prefillers", str(spec.prefill.replicas), "--decoders", str(spec.decode.replicas)),
            *("--prefill-arguments", arguments["prefill"], "--decode-arguments", arguments["decode"]),
        ],
        "instanceSpec": spec.decode.instance_spec.to_dict() if spec.decode.instance_spec is not None else {},
        "rolloutStrategy": spec.rollout_strategy.to_dict(),
    }
    metadata = {"name": application.name, "namespace": application.namespace}
    return ArksApplication.from_stored(
        {"apiVersion": "arks.ai/v1", "kind": "ArksApplication", "metadata": metadata, "spec": given}
    )


def _read(spec: ArksApplicationSpec) -> tuple[dict[str, int], dict[str, list[str]]]:
    """Engines and arguments by stage."""
    words = spec.runtime_args
    given = dict(zip(words[::2], words[1::2], strict=True))
    engines = {"prefill": int(given["--prefillers"]), "decode": int(given["--decoders"])}
    return engines, {stage: json.loads(given[f"--{stage}-arguments"]) for stage in STAGES}


class LocalDisaggregatedWorkloads:
    def __init__(self, workloads: LocalWorkloads, *, grace_seconds: float) -> None:
        """`workloads`: for these applications alone, with ApartRuntimes. `grace_seconds`: of requests at a removal."""
        self._workloads = workloads
        self._grace_seconds = grace_seconds
        self._notes: dict[Key, str] = {}

    def problem(self, application: ArksDisaggregatedApplication) -> Refusal | None:
        return checks.disaggregated_problem(application.spec)

    def dialect(self, application: ArksDisaggregatedApplication) -> str:
        return Runtime.ARK.value

    def stage_dialect(self, application: ArksDisaggregatedApplication) -> str:
        return ""

    async def apply(self, application: ArksDisaggregatedApplication, model: ModelFact | None) -> ObservedDisaggregated:
        key = Key(application.namespace, application.name)
        self._notes[key] = one_machine.sentence_of(one_machine.without_effect(application))
        await self._workloads.apply(Workload(as_workload(application), model))
        return self.observe(key)

    def observe(self, key: Key) -> ObservedDisaggregated:
        return replace(self._parts(key, self._workloads.observe(key)), note=self._notes.get(key, ""))

    async def remove(self, key: Key) -> ObservedDisaggregated:
        observed = await self._workloads.remove(key, self._grace_seconds)
        if observed.replicas:
            return self._parts(key, observed, terminating=True)
        self._notes.pop(key, None)
        return ObservedDisaggregated()

    def _parts(self, key: Key, observed: ObservedWorkload, *, terminating: bool = False) -> ObservedDisaggregated:
        """With the engines that the program has, not those that the spec wants: that may be any number."""
        commands = [self._workloads.command(key, replica.name) for replica in observed.replicas[:1]]
        engines = [number_of(commands[0] if commands else [], (option,)) for option in ("--prefillers", "--decoders")]
        return on_one_machine(key.name, observed, *engines, terminating=terminating)

    def keys(self) -> set[Key]:
        return self._workloads.keys()

    def subscribe(self, listener: Callable[[Key], None]) -> None:
        self._workloads.subscribe(lambda change: listener(Key(change.namespace, change.application)))
