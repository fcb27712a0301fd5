"""Reconcile ArksModels: observe, decide, take one step, report."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import structlog

from arks.contracts.resources import ArksModel, ArksModelStatus
from arks.kit.clock import Clock
from arks.kit.errors import ArksError, Invalid, Unavailable
from arks.kit.home import Resources, Secrets
from arks.kit.key import Key
from arks.kit.reconcile import Requeue
from arks.model_manager.domain.credentials import Credentials
from arks.model_manager.domain.decision import Decision, Step, decide
from arks.model_manager.domain.node_cache.report import SWITCHED_OFF
from arks.model_manager.domain.observation import Observation
from arks.model_manager.domain.path_use import PathUse
from arks.model_manager.domain.removal import removal_message
from arks.model_manager.domain.status import progress_in_status, status_of
from arks.model_manager.service.node_caches import NodeCaches
from arks.model_manager.service.ports import Publisher, Storage
from arks.model_manager.service.shared_paths import SharedPaths
from arks.model_manager.service.source_credentials import SourceCredentials
from arks.model_manager.service.status_reports import StatusReports

log = structlog.get_logger(__name__)

FINALIZER = "model.arks.ai/controller"


@dataclass(frozen=True, slots=True)
class Timings:
    check_seconds: float | None
    """Interval of checks of a ready model's files; None: the storage reports losses by itself."""
    progress_seconds: float
    """Shortest time between two writes of progress to a status."""
    progress_event_seconds: float
    """Shortest time between two `progress` events."""


class ModelManager:
    def __init__(
        self,
        *,
        models: Resources[ArksModel],
        storage: Storage,
        secrets: Secrets | None,
        publisher: Publisher,
        clock: Clock,
        timings: Timings,
        default_endpoint: str,
        caches: NodeCaches | None = None,
    ) -> None:
        """`secrets`: None where downloads get credentials from the platform. `default_endpoint`: of the hub.

        `caches`: None where nodes keep no copies.
        """
        self._caches = caches
        self._models = models
        self._storage = storage
        self._publisher = publisher
        self._clock = clock
        self._check_seconds = timings.check_seconds
        self._credentials = SourceCredentials(secrets)
        self._paths = SharedPaths(models.cache, storage, default_endpoint)
        self._reports = StatusReports(
            models,
            publisher,
            clock,
            progress_seconds=timings.progress_seconds,
            progress_event_seconds=timings.progress_event_seconds,
        )

    # --- inbound

    def connect(self, enqueue: Callable[[Key], None]) -> None:
        """`enqueue` is called with models that share storage with a changed one."""
        self._paths.enqueue = enqueue

    async def reconcile(self, key: Key) -> Requeue | None:
        """Take one model one step further and report its state."""
        model = self._models.cache.get(key)
        if model is None:
            await self._reconcile_without(key)
        elif model.metadata.deletion_timestamp is not None:
            await self._delete(key, model)
        else:
            return await self._advance(key, model)
        return None

    async def _reconcile_without(self, key: Key) -> None:
        """A model that exists and cannot be read keeps its files and its fact. Its deletion leaves files whose path is
        not known, but a PVC goes with the model that owns it.
        """
        unreadable = self._models.cache.unreadable(key)
        if unreadable is not None and not unreadable.deleting:
            self._publisher.keep_fact(key)
            return
        self._forget(key)
        if unreadable is not None:
            self._publisher.remove_fact(key)
            await self._models.remove_finalizer(key, FINALIZER)

    def storage_changed(self, storage_path: str) -> None:
        """Enqueue the models of a path whose weights or download changed."""
        self._paths.enqueue_all(self._paths.reconciled_at(storage_path))

    def statuses(self) -> dict[Key, ArksModelStatus]:
        """The last written status of each model."""
        return self._reports.statuses()

    # --- observe, decide, act, report

    async def _advance(self, key: Key, model: ArksModel) -> Requeue | None:
        if FINALIZER not in model.metadata.finalizers:
            await self._models.add_finalizer(key, FINALIZER)
        if self._caches is not None:
            await self._caches.prepare(model)
        use = self._paths.use_of(key, model)
        await self._paths.handle_change(use)
        credentials, obstacle = await self._credentials.read(model)
        observation = await self._observe(use, credentials, obstacle)
        observation, decision = await self._act(use, observation, self._decide(observation), credentials)
        held_back_seconds = await self._report(model, observation, decision)
        delays = [seconds for seconds in (decision.requeue_seconds, held_back_seconds) if seconds is not None]
        return Requeue(min(delays)) if delays else None

    async def _observe(self, use: PathUse, credentials: Credentials, obstacle: str | None) -> Observation:
        stored, download = await self._storage.observe(use.storage_path, use.source)
        return Observation(
            source=use.source,
            storage_path=use.storage_path,
            stored=stored,
            download=download,
            conflict=self._paths.conflict_of(use),
            obstacle=obstacle,
            new_credentials=self._credentials.is_new(use.storage_path, credentials),
        )

    def _decide(self, observation: Observation) -> Decision:
        return decide(observation, now=self._clock.now(), check_seconds=self._check_seconds)

    async def _act(
        self, use: PathUse, observation: Observation, decision: Decision, credentials: Credentials
    ) -> tuple[Observation, Decision]:
        """Take the decided step, then decide again if it changed the observation."""
        if decision.step is Step.PREPARE:
            after = await self._prepare(use, observation)
        elif decision.step is Step.DOWNLOAD:
            after = await self._download(use, observation, credentials)
        else:
            if decision.step is Step.STOP and len(self._paths.reconciled_at(use.storage_path)) == 1:
                await self._storage.stop(use.storage_path)
            return observation, decision
        return (observation, decision) if after is observation else (after, self._decide(after))

    async def _prepare(self, use: PathUse, observation: Observation) -> Observation:
        try:
            await self._storage.prepare(use.storage_path, use.key)
        except ArksError as error:
            log.warning("storage not created", key=str(use.key), storage_path=use.storage_path, error=str(error))
            return replace(observation, storage_fault=str(error), storage_refused=isinstance(error, Invalid))
        return observation

    async def _download(self, use: PathUse, observation: Observation, credentials: Credentials) -> Observation:
        self._credentials.remember(use.storage_path, credentials)
        try:
            await self._storage.download(use.storage_path, use.key, use.source, credentials)
        except Invalid as error:
            return replace(observation, obstacle=str(error))
        _, download = await self._storage.observe(use.storage_path, use.source)
        return replace(observation, download=download)

    async def _report(self, model: ArksModel, observation: Observation, decision: Decision) -> float | None:
        """Returns seconds until progress that was held back may be written."""

        switched_off = SWITCHED_OFF if model.spec.cache is not None else None
        cache = self._caches.report(model) if self._caches is not None else switched_off

        def make_status(before: ArksModelStatus | None) -> ArksModelStatus:
            return status_of(
                decision,
                observation.stored,
                progress_in_status(observation),
                before,
                generation=model.metadata.generation or 0,
                now=self._clock.now(),
                cache=cache,
            )

        return await self._reports.write(model, make_status)

    # --- deletion

    async def _delete(self, key: Key, model: ArksModel) -> None:
        self._publisher.remove_fact(key)
        if FINALIZER not in model.metadata.finalizers:
            return
        if (obscure := self._paths.obscure_user(key)) is not None:
            raise Unavailable(f"the files of {key} stay: ArksModel {obscure} cannot be read and may use them")
        use = self._paths.use_of(key, model)
        users = self._paths.other_users(use.storage_path, key)
        message = await self._remove_files(use, users)
        log.info("model deleted", key=str(key), message=message)
        self._publisher.publish_event("deleted", model, model.status or ArksModelStatus(), message)
        await self._models.remove_finalizer(key, FINALIZER)
        self._paths.enqueue_all(users)

    async def _remove_files(self, use: PathUse, users: list[Key]) -> str:
        """Returns the message of the event. `users`: other models of the path."""
        if not users:
            await self._storage.stop(use.storage_path)
        removal = await self._storage.remove(use.storage_path, use.key, shared=bool(users))
        return removal_message(use, removal, users)

    def _forget(self, key: Key) -> None:
        self._reports.forget(key)
        unused_path = self._paths.forget(key)
        if unused_path is not None:
            self._credentials.forget(unused_path)
