"""Disaggregated applications on Kubernetes: a LeaderWorkerSet a stage, a Deployment of routers, a Service."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from arks.app_deployer.adapters.kubernetes.children import Children, rejection_message
from arks.app_deployer.adapters.kubernetes.groups import REJECTED, REJECTED_RETRY_SECONDS, GroupRef, Groups
from arks.app_deployer.domain.disaggregated import ObservedDisaggregated
from arks.app_deployer.domain.launch import disaggregated_manifests, manifests
from arks.app_deployer.domain.launch.containers import Images
from arks.app_deployer.domain.launch.disaggregated_commands import Stage
from arks.app_deployer.domain.launch.disaggregated_manifests import ROUTER, child_name
from arks.app_deployer.domain.pods import ReplicaNotice
from arks.app_deployer.domain.workload import ObservedWorkload, Refusal
from arks.contracts.names import service_name
from arks.contracts.resources import ArksDisaggregatedApplication
from arks.events.v1.facts_pb2 import ModelFact
from arks.kit.errors import Invalid, NotFound
from arks.kit.key import Key
from arks.kit.kube.api import KubeApi
from arks.kit.kube.kinds import Kind

_KIND = ArksDisaggregatedApplication.__name__
_RBAC = "rbac.authorization.k8s.io"
_ACCOUNT_KINDS = {
    "ServiceAccount": Kind("", "v1", "ServiceAccount", "serviceaccounts"),
    "Role": Kind(_RBAC, "v1", "Role", "roles"),
    "RoleBinding": Kind(_RBAC, "v1", "RoleBinding", "rolebindings"),
}


@dataclass(slots=True)
class _ApplicationState:
    """State of an application that its objects do not hold."""

    revisions: dict[str, str] = field(default_factory=dict)
    account: str = ""
    """Digest of the router's account as last written."""
    refusal: Refusal | None = None
    requeue_seconds: float | None = None


class KubeDisaggregatedWorkloads:
    def __init__(
        self,
        *,
        images: Images,
        grace_seconds: float,
        api: KubeApi,
        groups: Groups,
        sets: Children,
        services: Children,
        deployments: Children,
    ) -> None:
        """`grace_seconds`: of pods whose spec has no terminationGracePeriodSeconds."""
        self._images = images
        self._grace_seconds = grace_seconds
        self._api = api
        self._groups = groups
        self._sets = sets
        self._services = services
        self._deployments = deployments
        self._known: dict[Key, _ApplicationState] = {}
        self._listeners: list[Callable[[Key], None]] = []
        groups.subscribe(self._replica_changed)
        for children in (sets, services, deployments):
            children.subscribe(_KIND, self._changed)

    def subscribe(self, listener: Callable[[Key], None]) -> None:
        self._listeners.append(listener)

    def problem(self, application: ArksDisaggregatedApplication) -> Refusal | None:
        """None: the schema and rules of the API server reject specs that cannot run."""
        return None

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
        )

    def _part(self, key: Key, known: _ApplicationState, part: str, children: Children) -> ObservedWorkload:
        child = children.get(Key(key.namespace, child_name(key.name, part)))
        revision = known.revisions.get(part) or (child.revision if child is not None else "")
        return ObservedWorkload(self._groups.replicas(GroupRef(key, str(part)), revision))

    async def apply(self, application: ArksDisaggregatedApplication, model: ModelFact | None) -> ObservedDisaggregated:
        key = Key(application.namespace, application.name)
        if model is None:
            for stage in Stage:
                child = Key(key.namespace, child_name(key.name, stage))
                await self._sets.scale_down(child, disaggregated_manifests.workload(application, stage).replicas)
            return self.observe(key)
        known = self._known.setdefault(key, _ApplicationState())
        try:
            await self._apply(key, known, application, model)
            known.refusal = None
        except (Invalid, NotFound) as error:
            known.refusal = Refusal(REJECTED, rejection_message(error))
            known.requeue_seconds = REJECTED_RETRY_SECONDS
        return self.observe(key)

    async def _apply(
        self, key: Key, known: _ApplicationState, application: ArksDisaggregatedApplication, model: ModelFact
    ) -> None:
        grace_seconds = self._grace_seconds
        await self._services.apply(disaggregated_manifests.router_service(application))
        await self._apply_account(known, application)
        router = disaggregated_manifests.router_deployment(application, model, self._images, grace_seconds)
        known.revisions[ROUTER] = router["metadata"]["annotations"][manifests.REVISION]
        await self._deployments.apply(router)
        waits = []
        for stage in Stage:
            made = disaggregated_manifests.stage_templates(application, stage, model, self._images, grace_seconds)
            known.revisions[stage] = made.revision
            desired = disaggregated_manifests.workload(application, stage).replicas
            name = child_name(key.name, stage)
            waits.append(await self._groups.apply_set(GroupRef(key, stage.value), application, made, desired, name))
        known.requeue_seconds = min((seconds for seconds in waits if seconds is not None), default=None)

    async def _apply_account(self, known: _ApplicationState, application: ArksDisaggregatedApplication) -> None:
        """Write the account once per process and spec: there is no watch on these kinds."""
        objects = disaggregated_manifests.router_account(application)
        if known.account == (digest := manifests.digest(objects)):
            return
        for body in objects:
            await self._api.apply(_ACCOUNT_KINDS[body["kind"]], body)
        known.account = digest

    async def remove(self, key: Key) -> ObservedDisaggregated:
        """Delete all children; Kubernetes deletes the account with its owner."""
        named = [self._sets.delete(Key(key.namespace, child_name(key.name, stage)), _KIND) for stage in Stage]
        named.append(self._deployments.delete(Key(key.namespace, child_name(key.name, ROUTER)), _KIND))
        named.append(self._services.delete(Key(key.namespace, service_name(key.name)), _KIND))
        removed = await asyncio.gather(*named)
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
