"""Applications on Kubernetes: each a LeaderWorkerSet and a Service; LeaderWorkerSet's own controller runs the pods."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from arks.app_deployer.adapters.kubernetes.children import Children, refusal_message
from arks.app_deployer.adapters.kubernetes.groups import REFUSED, REFUSED_AGAIN_SECONDS, Groups, Place
from arks.app_deployer.domain import checks
from arks.app_deployer.domain.launch import commands, manifests
from arks.app_deployer.domain.launch.containers import Images
from arks.app_deployer.domain.pods import Told
from arks.app_deployer.domain.workload import Change, Observed, Refusal, Workload
from arks.contracts.resources import ArksApplication
from arks.events.v1.facts_pb2 import ModelFact
from arks.kit.errors import Invalid, NotFound
from arks.kit.reconcile import Key

_KIND = ArksApplication.__name__


@dataclass(slots=True)
class _Known:
    """What is known of an application besides its objects."""

    revision: str = ""
    refusal: Refusal | None = None
    again_seconds: float | None = None


class KubeWorkloads:
    def __init__(
        self, *, images: Images, grace_seconds: float, groups: Groups, sets: Children, services: Children
    ) -> None:
        """`grace_seconds`: of pods whose spec has no terminationGracePeriodSeconds."""
        self._images = images
        self._grace_seconds = grace_seconds
        self._groups = groups
        self._sets = sets
        self._services = services
        self._known: dict[Key, _Known] = {}
        self._listeners: list[Callable[[Change], None]] = []
        groups.subscribe(self._replica_changed)
        for children in (sets, services):
            children.subscribe(_KIND, self._child_changed)

    def subscribe(self, listener: Callable[[Change], None]) -> None:
        self._listeners.append(listener)

    def problem(self, application: ArksApplication) -> Refusal | None:
        spec = application.spec
        try:
            group = commands.group(spec, "/", self._images)
        except commands.NoLaunch as error:
            return Refusal(checks.RUNTIME_NOT_SUPPORTED, str(error))
        if spec.group_size > 1 and group.worker is None:
            message = f"runtime {spec.effective_runtime} runs on one node: leave size out, or set it to 1"
            return Refusal(checks.RUNTIME_NOT_SUPPORTED, message)
        return None

    def keys(self) -> set[Key]:
        return self._sets.of(_KIND) | {place.application for place in self._groups.places() if not place.part}

    def observe(self, key: Key) -> Observed:
        known = self._known.get(key) or _Known()
        child = self._sets.get(key)
        revision = known.revision or (child.revision if child is not None else "")
        return Observed(self._groups.replicas(Place(key), revision), known.refusal, known.again_seconds)

    def observed(self) -> Iterator[tuple[Key, Observed]]:
        return iter([(key, self.observe(key)) for key in self.keys()])

    async def apply(self, workload: Workload) -> Observed:
        application = workload.application
        key = Key(application.namespace, application.name)
        status = application.status
        self._groups.recall(Place(key), {one.name: one.restarts for one in status.instances} if status else {})
        if workload.model is None:
            await self._sets.scale_down(key, application.spec.replicas)
            return self.observe(key)
        known = self._known.setdefault(key, _Known())
        try:
            await self._apply(key, known, application, workload.model)
            known.refusal = None
        except (Invalid, NotFound) as error:
            known.refusal = Refusal(REFUSED, refusal_message(error))
            known.again_seconds = REFUSED_AGAIN_SECONDS
        return self.observe(key)

    async def _apply(self, key: Key, known: _Known, application: ArksApplication, model: ModelFact) -> None:
        made = manifests.templates(application, model, self._images, self._grace_seconds)
        known.revision = made.revision
        await self._services.apply(manifests.application_service(application))
        wanted = application.spec.replicas
        known.again_seconds = await self._groups.apply_set(Place(key), application, made, wanted, key.name)

    async def remove(self, key: Key, grace_seconds: float) -> Observed:
        """Pods end as Kubernetes ends them: each within the grace period that it was made with."""
        set_gone = await self._sets.delete(key, _KIND)
        service_gone = await self._services.delete(Key(key.namespace, manifests.service_name(key.name)), _KIND)
        observed = self.observe(key)
        if set_gone and service_gone and not observed.replicas:
            self._known.pop(key, None)
            self._groups.forget(Place(key))
            return Observed()
        return Observed(observed.replicas, leaving=True)

    def _replica_changed(self, place: Place, replica: str, told: Told | None) -> None:
        if place.part:
            return
        key = place.application
        change = Change(key.namespace, key.name)
        if told is not None:
            change = Change(key.namespace, key.name, replica, told.verb, told.reason, told.message, told.last_lines)
        for listener in self._listeners:
            listener(change)

    def _child_changed(self, key: Key) -> None:
        for listener in self._listeners:
            listener(Change(key.namespace, key.name))
