"""Disaggregated applications on Kubernetes: a LeaderWorkerSet a stage, a Deployment of routers, a Service."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from arks.app_deployer.adapters.kubernetes.children import Children
from arks.app_deployer.adapters.kubernetes.groups import Groups
from arks.app_deployer.adapters.kubernetes.refusals import RETRY_SECONDS, Refused, refusal_of
from arks.app_deployer.adapters.kubernetes.set_rollouts import SetRollouts, shortest
from arks.app_deployer.domain import checks
from arks.app_deployer.domain.disaggregated import ObservedDisaggregated
from arks.app_deployer.domain.launch import (
    disaggregated_commands,
    disaggregated_manifests,
    manifests,
    platform_defaults,
    scheduling,
)
from arks.app_deployer.domain.launch.disaggregated_commands import Stage, stage_host
from arks.app_deployer.domain.launch.disaggregated_manifests import ROUTER, child_name, stage_name
from arks.app_deployer.domain.launch.profile_set import NoLaunch, Profiles
from arks.app_deployer.domain.pods import GroupRef, ReplicaNotice
from arks.app_deployer.domain.workload import ObservedWorkload, Refusal
from arks.contracts.names import service_name
from arks.contracts.resources import ArksDisaggregatedApplication, Runtime
from arks.events.v1.facts_pb2 import ModelFact
from arks.kit.key import Key
from arks.kit.kube.pod_defaults import NO_DEFAULTS, PodDefaults

_KIND = ArksDisaggregatedApplication.__name__


@dataclass(slots=True)
class _ApplicationState:
    """State of an application that its objects do not hold."""

    revisions: dict[str, str] = field(default_factory=dict)
    refusal: Refusal | None = None
    faults: dict[str, Refusal | None] = field(default_factory=dict)
    """What has no effect in a part, although its replicas run."""
    requeue_seconds: float | None = None
    note: str = ""


class KubeDisaggregatedWorkloads:
    def __init__(
        self,
        *,
        profiles: Profiles,
        grace_seconds: float,
        groups: Groups,
        rollouts: SetRollouts,
        sets: Children,
        services: Children,
        deployments: Children,
        accounts: Mapping[str, Children],
        pod_defaults: PodDefaults = NO_DEFAULTS,
    ) -> None:
        """`grace_seconds`: of pods whose spec has no terminationGracePeriodSeconds. `accounts`: by kind."""
        self._profiles = profiles
        self._pod_defaults = pod_defaults
        self._grace_seconds = grace_seconds
        self._groups = groups
        self._rollouts = rollouts
        self._sets = sets
        self._services = services
        self._deployments = deployments
        self._accounts = accounts
        self._known: dict[Key, _ApplicationState] = {}
        self._listeners: list[Callable[[Key], None]] = []
        groups.subscribe(self._replica_changed)
        for children in (sets, services, deployments, *accounts.values()):
            children.subscribe(_KIND, self._changed)

    def subscribe(self, listener: Callable[[Key], None]) -> None:
        self._listeners.append(listener)

    def problem(self, application: ArksDisaggregatedApplication) -> Refusal | None:
        try:
            disaggregated_commands.group(application, "/", self._profiles)
        except NoLaunch as error:
            return Refusal(checks.RUNTIME_NOT_SUPPORTED, str(error))
        spec = application.spec
        if problem := scheduling.policy_problem(spec.pod_group_policy, max(spec.prefill.size, spec.decode.size)):
            return Refusal(checks.GANG_NOT_SUPPORTED, problem)
        return None

    def dialect(self, application: ArksDisaggregatedApplication) -> str:
        try:
            profile = disaggregated_commands.launch_of(application.spec, self._profiles).profile
        except NoLaunch:
            return ""
        return profile.router.metrics or f"{profile.runtime}-router"

    def stage_dialect(self, application: ArksDisaggregatedApplication) -> str:
        """ARK's engines have no page of an engine; openai-proxy's has their numbers."""
        runtime = Runtime(application.spec.runtime or Runtime.SGLANG)
        return "" if runtime is Runtime.ARK else runtime.value

    def keys(self) -> set[Key]:
        made = self._sets.of(_KIND) | self._deployments.of(_KIND) | self._services.of(_KIND)
        return made | {ref.application for ref in self._groups.group_refs() if ref.part}

    def observe(self, key: Key) -> ObservedDisaggregated:
        known = self._known.get(key) or _ApplicationState()
        return ObservedDisaggregated(
            router=self._part(key, known, ROUTER, self._deployments),
            prefill=self._part(key, known, Stage.PREFILL, self._sets),
            decode=self._part(key, known, Stage.DECODE, self._sets),
            refusal=known.refusal,
            requeue_seconds=known.requeue_seconds,
            note=known.note,
        )

    def _part(self, key: Key, known: _ApplicationState, part: str, children: Children) -> ObservedWorkload:
        name = child_name(key.name, part) if part == ROUTER else stage_name(key.name, Stage(part))
        child = children.get(Key(key.namespace, name), key.name, _KIND)
        revision = known.revisions.get(part) or (child.revision if child is not None else "")
        ref = GroupRef(key, str(part))
        without_surge = self._rollouts.without_surge(child, revision)
        return ObservedWorkload(
            self._groups.replicas(ref, revision),
            self._rollouts.missing(ref) or known.faults.get(part),
            without_surge=without_surge,
        )

    async def apply(self, application: ArksDisaggregatedApplication, model: ModelFact | None) -> ObservedDisaggregated:
        key = Key(application.namespace, application.name)
        if model is None:
            for stage in Stage:
                child = Key(key.namespace, stage_name(key.name, stage))
                replicas = disaggregated_manifests.workload(application, stage).replicas
                await self._sets.scale_down(child, replicas, key.name, _KIND)
            return self.observe(key)
        known = self._known.setdefault(key, _ApplicationState())
        try:
            await self._apply(key, known, application, model)
            known.refusal = None
        except Refused as error:
            known.refusal = refusal_of(error)
            known.requeue_seconds = RETRY_SECONDS
        return self.observe(key)

    async def _apply(
        self, key: Key, known: _ApplicationState, application: ArksDisaggregatedApplication, model: ModelFact
    ) -> None:
        grace_seconds = self._grace_seconds
        known.note = disaggregated_commands.launch_of(application.spec, self._profiles).profile.note
        services = [
            disaggregated_manifests.router_service(application),
            *disaggregated_manifests.stage_services(application, self._profiles),
        ]
        accounts = disaggregated_manifests.router_account(application, self._profiles)
        waits = [await self._services.apply(body) for body in services]
        waits += [await self._accounts[body["kind"]].apply(body) for body in accounts]
        router = disaggregated_manifests.router_deployment(application, model, self._profiles, grace_seconds)
        router = platform_defaults.in_deployment(router, self._pod_defaults)
        known.revisions[ROUTER] = router["metadata"]["annotations"][manifests.REVISION]
        waits.append(await self._deployments.apply(router))
        if self._deployments.get(Key(key.namespace, router["metadata"]["name"]), key.name, _KIND) is not None:
            name, replicas = router["metadata"]["name"], application.spec.router.replicas
            ref = GroupRef(key, ROUTER)
            waits.append(await self._rollouts.look_at_deployment(ref, name, replicas, known.revisions[ROUTER]))
        for stage in Stage:
            made = disaggregated_manifests.stage_templates(application, stage, model, self._profiles, grace_seconds)
            made = platform_defaults.in_templates(made, self._pod_defaults)
            known.revisions[stage] = made.revision
            workload, ref = disaggregated_manifests.workload(application, stage), GroupRef(key, stage.value)
            desired, policy = workload.replicas, application.spec.pod_group_policy
            known.faults[stage] = self._rollouts.pod_group_fault(ref, policy, workload.size)
            name = stage_name(key.name, stage)
            waits.append(await self._rollouts.apply(ref, application, made, desired, name))
        known.requeue_seconds = shortest(*waits)

    async def remove(self, key: Key) -> ObservedDisaggregated:
        """Delete all children; Kubernetes deletes the account with its owner."""
        router = Key(key.namespace, child_name(key.name, ROUTER))
        named = [(self._sets, Key(key.namespace, stage_name(key.name, stage))) for stage in Stage]
        services = [service_name(key.name), *(stage_host(key.name, stage) for stage in Stage)]
        named += [(self._deployments, router), *((self._services, Key(key.namespace, name)) for name in services)]
        removed = await asyncio.gather(*(children.delete(child, key.name, _KIND) for children, child in named))
        for children in self._accounts.values():
            children.forget(router)
        observed = self.observe(key)
        if all(removed) and not any(part.replicas for part in observed.parts.values()):
            self._known.pop(key, None)
            for part in observed.parts:
                self._groups.forget(GroupRef(key, part))
            return ObservedDisaggregated()
        return ObservedDisaggregated(observed.router, observed.prefill, observed.decode, terminating=True)

    def _replica_changed(self, ref: GroupRef, _replica: str, _notice: ReplicaNotice | None) -> None:
        if ref.part:
            self._changed(ref.application)

    def _changed(self, key: Key) -> None:
        for listener in self._listeners:
            listener(key)
