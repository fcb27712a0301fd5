"""Keeps every ArksModel's weights where its applications find them: gather, decide, act, report."""

import asyncio
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol

import structlog

from arks.contracts.resources import ArksModel, ArksModelSpec, ArksModelStatus, ModelPhase
from arks.kit.clock import Clock
from arks.kit.errors import ArksError, Invalid
from arks.kit.home import Resources, Secrets
from arks.kit.key import Key
from arks.kit.reconcile import Requeue
from arks.model_manager.domain.decision import Decision, Step, decide
from arks.model_manager.domain.observation import Loading, Seen, Stored
from arks.model_manager.domain.path_use import Claim, ClaimBook, Removal, conflict_of, users_of
from arks.model_manager.domain.source import Order, SourceKind, order_of
from arks.model_manager.domain.status import happened, shown_progress, status_of

log = structlog.get_logger(__name__)

FINALIZER = "model.arks.ai/controller"
MAX_REMEMBERED_TOKENS = 16


_AFTERWARDS = {
    Removal.REMOVED: "files in {place} removed",
    Removal.SHARED: "files in {place} kept: other models use their storage",
    Removal.LENT: "files in {place} kept as long as the engines that use them",
    Removal.KEPT: "files in {place} kept: Arks did not make their storage",
    Removal.ABSENT: "there were no files",
}


class Storage(Protocol):
    """Where weights are kept and how they get there: directories and child processes, or volume claims and jobs.

    A place names a piece of storage; places that overlap share files. `key` names the model that something is done for.
    """

    def place(self, key: Key, spec: ArksModelSpec) -> str: ...

    async def observe(self, place: str, order: Order) -> tuple[Stored, Loading | None]:
        """What lies there by the order, and the loading under way or failed. Cheap: names and sizes, no content."""

    async def prepare(self, place: str, key: Key) -> None:
        """Make the storage; nothing when it exists. Raises ArksError."""

    async def load(self, place: str, key: Key, order: Order, token: str | None) -> None:
        """Begin to load (or check) what the order wants, in the background. Nothing when that is under way already;
        another order's loading is ended first. `token` is None where downloads get theirs without us.
        Raises Invalid when it cannot be done before somebody mends something, other ArksErrors when it may be tried
        again."""

    async def stop(self, place: str) -> None:
        """End the loading, if there is one. What was loaded stays."""

    async def remove(self, place: str, key: Key, *, shared: bool) -> Removal:
        """The model goes: remove what Arks made, unless it is shared with another model. Raises ArksError."""


class Announcer(Protocol):
    """Tells the bus: the fact for machines, events for people."""

    def fact(self, model: ArksModel, status: ArksModelStatus) -> None: ...
    def event(self, verb: str, model: ArksModel, status: ArksModelStatus, message: str | None = None) -> None: ...
    def gone(self, key: Key) -> None: ...
    def complete(self) -> None:
        """All models that exist have been announced."""


@dataclass(frozen=True, slots=True)
class Pace:
    check_seconds: float | None
    """None: the storage reports losses itself."""
    progress_seconds: float
    progress_event_seconds: float


@dataclass(slots=True)
class _Told:
    """What was last said about a model: the cache may lag behind our own writes."""

    uid: str | None
    status: ArksModelStatus
    written_at: float
    event_at: float = float("-inf")


class ModelManager:
    def __init__(
        self,
        *,
        models: Resources[ArksModel],
        storage: Storage,
        secrets: Secrets | None,
        announcer: Announcer,
        clock: Clock,
        pace: Pace,
        default_endpoint: str,
    ) -> None:
        """`secrets`: None when downloads get the hub's token without us."""
        self._models = models
        self._storage = storage
        self._secrets = secrets
        self._announcer = announcer
        self._clock = clock
        self._pace = pace
        self._default_endpoint = default_endpoint
        self._told: dict[Key, _Told] = {}
        self._tried_tokens: dict[str, set[str]] = {}
        self._places: dict[Key, tuple[str, str]] = {}
        self._known_claims: dict[Key, tuple[ArksModel, Claim]] = {}
        """Not made anew each time."""
        self._book = ClaimBook()
        models.cache.subscribe(self._enter)
        self._reconciled: set[Key] = set()
        self._progressed = asyncio.Event()
        self.neighbour_changed: Callable[[Key], None] = lambda _: None
        """Called with each model that a change of another one concerns."""

    # --- inbound

    async def reconcile(self, key: Key) -> Requeue | None:
        """Bring one model a step further and say where it stands."""
        model = self._models.cache.get(key)
        requeue = None
        if model is None:
            self._forget(key)
        elif model.metadata.deletion_timestamp is not None:
            await self._delete(key, model)
        else:
            requeue = await self._advance(key, model)
        self._reconciled.add(key)
        self._progressed.set()
        return requeue

    def of_place(self, place: str) -> list[Key]:
        """Models to look at when something changed in a place."""
        return [key for key, (used, _) in self._places.items() if used == place]

    def statuses(self) -> dict[Key, ArksModelStatus]:
        """What was last said about each model."""
        return {key: told.status for key, told in self._told.items()}

    async def announce_complete(self) -> None:
        """Say once that all models of the start have been announced; then stay, as tasks of an app do."""
        await self._models.cache.synced.wait()
        waiting = {key for key, _ in self._models.cache.items()}
        while waiting - self._reconciled:
            self._progressed.clear()
            await self._progressed.wait()
        self._announcer.complete()
        await asyncio.Event().wait()

    # --- gather, decide, act, report

    async def _advance(self, key: Key, model: ArksModel) -> Requeue | None:
        if FINALIZER not in model.metadata.finalizers:
            await self._models.add_finalizer(key, FINALIZER)
        mine = self._claim(key, model)
        await self._moved(mine)
        token, obstacle = await self._token(model)
        seen = await self._gather(mine, token, obstacle)
        seen, decision = await self._act(mine, seen, self._decide(seen), token)
        later = await self._report(key, model, seen, decision)
        waits = [seconds for seconds in (decision.again_seconds, later) if seconds is not None]
        return Requeue(min(waits)) if waits else None

    async def _gather(self, mine: Claim, token: str | None, obstacle: str | None) -> Seen:
        stored, loading = await self._storage.observe(mine.place, mine.order)
        return Seen(
            order=mine.order,
            place=mine.place,
            stored=stored,
            loading=loading,
            conflict=conflict_of(mine, self._book.near(mine.place)),
            obstacle=obstacle,
            new_token=self._secrets is not None and _digest(token) not in self._tried_tokens.get(mine.place, set()),
        )

    async def _act(self, mine: Claim, seen: Seen, decision: Decision, token: str | None) -> tuple[Seen, Decision]:
        """Take the step. A fault of the storage changes the decision."""
        if decision.step is Step.PREPARE:
            try:
                await self._storage.prepare(mine.place, mine.key)
            except ArksError as error:
                log.warning("storage not made", key=str(mine.key), place=mine.place, error=str(error))
                seen = replace(seen, storage_fault=str(error), storage_refused=isinstance(error, Invalid))
                decision = self._decide(seen)
        elif decision.step is Step.LOAD:
            seen = await self._load(mine, seen, token)
            decision = self._decide(seen)
        elif decision.step is Step.STOP and len(self.of_place(mine.place)) == 1:
            await self._storage.stop(mine.place)
        return seen, decision

    async def _load(self, mine: Claim, seen: Seen, token: str | None) -> Seen:
        self._remember_token(mine.place, token)
        try:
            await self._storage.load(mine.place, mine.key, mine.order, token)
        except Invalid as error:
            return replace(seen, obstacle=str(error))
        return replace(seen, loading=(await self._storage.observe(mine.place, mine.order))[1])

    def _decide(self, seen: Seen) -> Decision:
        return decide(seen, now=self._clock.now(), check_seconds=self._pace.check_seconds)

    def _remember_token(self, place: str, token: str | None) -> None:
        tried = self._tried_tokens.setdefault(place, set())
        if len(tried) >= MAX_REMEMBERED_TOKENS:
            tried.clear()
        tried.add(_digest(token))

    async def _token(self, model: ArksModel) -> tuple[str | None, str | None]:
        """The hub's token, and why it cannot be had."""
        source = model.spec.source
        reference = source.huggingface.token_secret_ref if source and source.huggingface else None
        if reference is None or self._secrets is None:
            return None, None
        key = Key(model.metadata.namespace, reference.name)
        try:
            values = await self._secrets.read(key)
        except Invalid as error:
            return None, str(error)
        if values is None:
            return None, f"Secret {key}, which source.huggingface.tokenSecretRef names, does not exist"
        token = (values.get(reference.key) or b"").decode("utf-8", "replace").strip()
        if not token:
            return None, f"Secret {key} has no value under {reference.key}"
        return token, None

    async def _report(self, key: Key, model: ArksModel, seen: Seen, decision: Decision) -> float | None:
        """Status, fact and events, each only when there is news. Returns when withheld progress may be written."""
        before = self._before(key, model)
        now = self._clock.monotonic()
        status = status_of(
            decision,
            seen.stored,
            shown_progress(seen),
            before.status if before else model.status,
            generation=model.metadata.generation or 0,
            now=self._clock.now(),
        )
        previous = before.status if before else model.status
        self._announcer.fact(model, status)
        if before and _same_but_progress(previous, status) and now - before.written_at < self._pace.progress_seconds:
            return self._pace.progress_seconds - (now - before.written_at) if previous != status else None
        if previous != status:
            await self._models.patch_status(key, status)
        told = _Told(model.metadata.uid, status, now, before.event_at if before else float("-inf"))
        self._told[key] = told
        self._tell(model, previous, status, told, now)
        return None

    def _tell(
        self, model: ArksModel, before: ArksModelStatus | None, after: ArksModelStatus, told: _Told, now: float
    ) -> None:
        for verb in happened(before, after):
            log.info("model", key=model.key, happened=verb, message=after.conditions[-1].message)
            self._announcer.event(verb, model, after)
        moved = before is None or before.progress != after.progress
        loading = after.phase is ModelPhase.MODEL_LOADING and after.progress is not None
        if loading and moved and now - told.event_at >= self._pace.progress_event_seconds:
            told.event_at = now
            self._announcer.event("progress", model, after)

    def _before(self, key: Key, model: ArksModel) -> _Told | None:
        told = self._told.get(key)
        return told if told is not None and told.uid == model.metadata.uid else None

    # --- shared places

    def _enter(self, key: Key) -> None:
        """What every model that is to stay wants."""
        model = self._models.cache.get(key)
        if model is None or model.metadata.deletion_timestamp is not None:
            self._book.drop(key)
        else:
            self._book.put(self._claim(key, model))

    def _users_of(self, place: str, besides: Key) -> list[Key]:
        return users_of(place, self._book.near(place), besides)

    def _claim(self, key: Key, model: ArksModel) -> Claim:
        known = self._known_claims.get(key)
        if known is not None and known[0] is model:
            return known[1]
        order = order_of(model.spec, self._default_endpoint)
        created_at = model.metadata.creation_timestamp or datetime.max.replace(tzinfo=UTC)
        claim = Claim(key, self._storage.place(key, model.spec), order, created_at)
        self._known_claims[key] = (model, claim)
        return claim

    async def _moved(self, mine: Claim) -> None:
        """The model wants another place or other weights: end what nobody wants now, and let neighbours look again."""
        before, after = self._places.get(mine.key), (mine.place, mine.order.fingerprint)
        if before == after:
            return
        self._places[mine.key] = after
        self._wake(self._users_of(mine.place, mine.key))
        if before is None:
            return
        _, loading = await self._storage.observe(before[0], mine.order)
        if loading is not None and loading.fingerprint == before[1] and before not in self._places.values():
            await self._storage.stop(before[0])
        self._wake(self._users_of(before[0], mine.key))

    def _wake(self, keys: Iterable[Key]) -> None:
        for key in keys:
            self.neighbour_changed(key)

    # --- the end of a model

    async def _delete(self, key: Key, model: ArksModel) -> None:
        self._announcer.gone(key)
        if FINALIZER not in model.metadata.finalizers:
            return
        mine = self._claim(key, model)
        users = self._users_of(mine.place, key)
        message = await self._clean_up(mine, users)
        log.info("model deleted", key=str(key), message=message)
        self._announcer.event("deleted", model, model.status or ArksModelStatus(), message)
        await self._models.remove_finalizer(key, FINALIZER)
        self._wake(users)

    async def _clean_up(self, mine: Claim, users: list[Key]) -> str:
        """Returns what became of the files, for people."""
        if not users:
            await self._storage.stop(mine.place)
        removal = await self._storage.remove(mine.place, mine.key, shared=bool(users))
        if users:
            return f"files kept: {', '.join(map(str, users))} uses them too"
        if mine.order.kind is SourceKind.FILE:
            return f"{mine.order.path} kept: it was used in place"
        return _AFTERWARDS[removal].format(place=mine.place)

    def _forget(self, key: Key) -> None:
        self._announcer.gone(key)
        self._told.pop(key, None)
        self._known_claims.pop(key, None)
        self._reconciled.discard(key)
        place, _ = self._places.pop(key, ("", ""))
        if place and not self.of_place(place):
            self._tried_tokens.pop(place, None)


def _same_but_progress(before: ArksModelStatus | None, after: ArksModelStatus) -> bool:
    return before is not None and before.model_copy(update={"progress": after.progress}) == after


def _digest(token: str | None) -> str:
    """To know a token again without keeping it."""
    return hashlib.sha256((token or "").encode()).hexdigest()
