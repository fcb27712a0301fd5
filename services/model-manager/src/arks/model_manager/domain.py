"""What is to be done about a model next, and what its status says. Pure: data in, decision out."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from arks.contracts.conditions import MODEL_CONDITIONS, NEW_INCOMING, initial_conditions, set_condition
from arks.contracts.resources import ArksModelSpec, ArksModelStatus, DownloadProgress, ModelPhase
from arks.kit.reconcile import Backoff, Key
from arks.model_manager.protocol import FailureKind

FINALIZER = "model.arks.ai/controller"
DEFAULT_REVISION = "main"
STORAGE_RETRY_SECONDS = 5.0
"""How often storage that cannot be used, or a secret that is missing, is looked at again."""
PATIENCE = 5
"""Failures in a row, without a byte of progress between them, after which a passing fault counts as Failed."""


class SourceKind(StrEnum):
    HUB = "hub"
    FILE = "file"
    STORED = "stored"
    """No source: somebody has put the weights into the storage."""


@dataclass(frozen=True, slots=True)
class Order:
    """Which weights are wanted."""

    kind: SourceKind
    repository: str = ""
    endpoint: str = ""
    revision: str = DEFAULT_REVISION
    allow_patterns: tuple[str, ...] = ()
    ignore_patterns: tuple[str, ...] = ()
    path: str = ""
    """Of a file source."""
    sha256: str | None = None
    """That the file must have."""

    @property
    def fingerprint(self) -> str:
        """Equal for orders that want the same weights."""
        wanted = [self.kind, self.repository, self.endpoint, self.revision, self.path, self.sha256]
        patterns = [list(self.allow_patterns), list(self.ignore_patterns)]
        return hashlib.sha256(json.dumps([wanted, patterns]).encode()).hexdigest()

    @property
    def origin(self) -> str:
        """For people."""
        if self.kind is SourceKind.HUB:
            scheme, _, address = self.endpoint.partition("://")
            return f"{self.repository} ({self.revision}) at {scheme}://{address.rpartition('@')[2]}"
        return self.path if self.kind is SourceKind.FILE else "the storage"


def order_of(spec: ArksModelSpec, default_endpoint: str) -> Order:
    source = spec.source
    if source is None:
        return Order(SourceKind.STORED)
    if source.file is not None:
        return Order(SourceKind.FILE, path=source.file.path, sha256=source.file.sha256)
    hub = source.huggingface
    return Order(
        SourceKind.HUB,
        repository=spec.model,
        endpoint=((hub and hub.endpoint) or default_endpoint).rstrip("/"),
        revision=(hub and hub.revision) or DEFAULT_REVISION,
        allow_patterns=tuple(hub.allow_patterns) if hub else (),
        ignore_patterns=tuple(hub.ignore_patterns) if hub else (),
    )


# --- what was seen


class Content(StrEnum):
    ABSENT = "absent"
    """The storage does not exist."""
    INCOMPLETE = "incomplete"
    """There, but what the order wants has not been loaded (or checked) yet."""
    DAMAGED = "damaged"
    """It was complete; files are gone or have another size."""
    REFUSED = "refused"
    """Cannot be used, and loading would not help; `message` says why."""
    COMPLETE = "complete"


@dataclass(frozen=True, slots=True)
class Stored:
    """What lies in the storage, judged by an order."""

    content: Content
    path: str = ""
    """What engines load: a directory, or the one GGUF file in it."""
    size_bytes: int = 0
    file_count: int = 0
    sha256: str | None = None
    revision: str | None = None
    message: str = ""


_RETRY = {
    FailureKind.NETWORK: Backoff(1.0, 60.0),
    FailureKind.CRASHED: Backoff(0.2, 60.0),
    FailureKind.CORRUPT: Backoff(2.0, 300.0),
    FailureKind.NO_SPACE: Backoff(10.0, 300.0),
    FailureKind.STORAGE: Backoff(5.0, 300.0),
    FailureKind.DENIED: Backoff(60.0, 1800.0),
    FailureKind.NOT_FOUND: Backoff(60.0, 1800.0),
    FailureKind.INVALID: Backoff(60.0, 1800.0),
}
_PASSING = frozenset({FailureKind.NETWORK, FailureKind.CRASHED})
"""Faults that usually go away by themselves within moments."""


@dataclass(frozen=True, slots=True)
class Failure:
    kind: FailureKind
    message: str


class LoadState(StrEnum):
    WAITING = "waiting"
    """For its turn."""
    RUNNING = "running"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Loading:
    """A download (or check) of what an order wants, under way or failed; done ones show in `Stored`."""

    fingerprint: str
    state: LoadState
    progress: DownloadProgress
    failure: Failure | None = None
    failures: int = 0
    """In a row, without progress between them."""
    ended_at: datetime | None = None

    @property
    def retry_at(self) -> datetime | None:
        if self.state is not LoadState.FAILED or self.failure is None or self.ended_at is None:
            return None
        delay = _RETRY[self.failure.kind].delay_seconds(max(1, self.failures))
        return self.ended_at + timedelta(seconds=delay)

    @property
    def given_up(self) -> bool:
        """Whether people should look at it; it is tried again all the same."""
        if self.failure is None:
            return False
        return self.failure.kind not in _PASSING or self.failures >= PATIENCE


@dataclass(frozen=True, slots=True)
class Seen:
    """Everything that a decision is made from."""

    order: Order
    stored: Stored
    loading: Loading | None = None
    conflict: str | None = None
    """Why the storage belongs to another model."""
    storage_fault: str | None = None
    """Why the storage could not be made."""
    obstacle: str | None = None
    """Why a download cannot begin: its secret is missing."""
    new_token: bool = False
    """The token is another one than the failed download had."""


# --- the decision


class Step(StrEnum):
    NOTHING = "nothing"
    PREPARE = "prepare"
    LOAD = "load"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Verdict:
    """For one condition."""

    ok: bool
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Decision:
    phase: ModelPhase
    storage: Verdict
    loaded: Verdict | None = None
    """None: not looked at."""
    step: Step = Step.NOTHING
    again_seconds: float | None = None
    """When to look again although nothing reported a change."""

    @property
    def ready(self) -> bool:
        return self.phase is ModelPhase.READY

    @property
    def explains(self) -> Verdict:
        """The verdict that says why the phase is what it is."""
        return self.loaded if self.loaded is not None and self.storage.ok else self.storage


def decide(seen: Seen, *, now: datetime, check_seconds: float) -> Decision:
    """What the phase is, why, and what to do next."""
    if seen.conflict is not None:
        return Decision(ModelPhase.FAILED, Verdict(False, "CreateFailed", seen.conflict), step=Step.STOP)
    if seen.stored.content is Content.ABSENT:
        return _without_storage(seen)
    storage = Verdict(True, "CreateSucceeded", _storage_message(seen))
    if seen.stored.content is Content.COMPLETE:
        message = f"{seen.stored.file_count} file(s), {human_bytes(seen.stored.size_bytes)}, from {seen.order.origin}"
        loaded = Verdict(True, "ModelLoadSucceeded", message)
        return Decision(ModelPhase.READY, storage, loaded, again_seconds=check_seconds)
    if seen.stored.content is Content.REFUSED:
        return _failed(storage, seen.stored.message, STORAGE_RETRY_SECONDS)
    return _loading(seen, storage, now)


def _without_storage(seen: Seen) -> Decision:
    if seen.order.kind is not SourceKind.HUB:
        return _failed(Verdict(False, "CreateFailed", seen.stored.message), seen.stored.message, STORAGE_RETRY_SECONDS)
    if seen.storage_fault is not None:
        fault = Verdict(False, "BoundFailed", seen.storage_fault)
        return Decision(ModelPhase.STORAGE_CREATING, fault, again_seconds=STORAGE_RETRY_SECONDS)
    creating = Verdict(False, NEW_INCOMING, "the storage is being created")
    return Decision(ModelPhase.STORAGE_CREATING, creating, step=Step.PREPARE, again_seconds=0.0)


def _loading(seen: Seen, storage: Verdict, now: datetime) -> Decision:
    if seen.obstacle is not None:
        return _failed(storage, seen.obstacle, STORAGE_RETRY_SECONDS)
    loading = seen.loading
    if loading is None or loading.fingerprint != seen.order.fingerprint:
        return Decision(ModelPhase.MODEL_LOADING, storage, _under_way(seen), step=Step.LOAD)
    if loading.state is LoadState.WAITING:
        waits = Verdict(False, "ModelLoading", "waits until another download ends")
        return Decision(ModelPhase.PENDING, storage, waits)
    if loading.state is LoadState.RUNNING:
        return Decision(ModelPhase.MODEL_LOADING, storage, _under_way(seen))
    return _after_failure(seen, loading, storage, now)


def _after_failure(seen: Seen, loading: Loading, storage: Verdict, now: datetime) -> Decision:
    retry_at = loading.retry_at or now
    if seen.new_token or retry_at <= now:
        return Decision(ModelPhase.MODEL_LOADING, storage, _under_way(seen), step=Step.LOAD)
    again = (retry_at - now).total_seconds()
    why = loading.failure.message if loading.failure else "the download failed"
    message = f"{why}; tried again at {retry_at:%H:%M:%S} UTC"
    if loading.given_up:
        # A new token in the secret is a reason to try at once, and only looking shows it.
        soon = STORAGE_RETRY_SECONDS if loading.failure and loading.failure.kind is FailureKind.DENIED else again
        return _failed(storage, message, min(again, soon))
    return Decision(ModelPhase.MODEL_LOADING, storage, Verdict(False, "ModelLoading", message), again_seconds=again)


def _failed(storage: Verdict, message: str, again_seconds: float) -> Decision:
    return Decision(ModelPhase.FAILED, storage, Verdict(False, "ModelLoadFailed", message), again_seconds=again_seconds)


def _under_way(seen: Seen) -> Verdict:
    what = "checks" if seen.order.kind is SourceKind.FILE else "downloads"
    message = f"{what} {seen.order.origin}"
    if seen.stored.content is Content.DAMAGED:
        message += f" again: {seen.stored.message}"
    return Verdict(False, "ModelLoading", message)


def _storage_message(seen: Seen) -> str:
    if seen.order.kind is SourceKind.FILE:
        return f"{seen.order.path} is used in place"
    return "the storage exists"


# --- the status


def status_of(
    decision: Decision,
    stored: Stored,
    progress: DownloadProgress | None,
    before: ArksModelStatus | None,
    *,
    generation: int,
    now: datetime,
) -> ArksModelStatus:
    """The status after `decision`; times of conditions change only with their status."""
    conditions = list(before.conditions) if before is not None else []
    if not conditions:
        conditions = initial_conditions(MODEL_CONDITIONS, now=now, observed_generation=generation)
    why = decision.explains
    loaded = decision.loaded or Verdict(False, NEW_INCOMING, "")
    ready = Verdict(True, "Ready", "engines can load the model") if decision.ready else why
    for type_, verdict in zip(MODEL_CONDITIONS, (decision.storage, loaded, ready), strict=True):
        conditions = set_condition(
            conditions,
            type_,
            verdict.ok,
            verdict.reason,
            verdict.message,
            now=now,
            observed_generation=generation,
        )
    return ArksModelStatus(
        phase=decision.phase,
        observed_generation=generation,
        conditions=conditions,
        progress=progress,
        path=stored.path if decision.ready else None,
        size_bytes=stored.size_bytes if decision.ready else None,
        file_count=stored.file_count if decision.ready else None,
        sha256=stored.sha256 if decision.ready else None,
        revision=stored.revision if decision.ready else None,
    )


def happened(before: ArksModelStatus | None, after: ArksModelStatus) -> list[str]:
    """Verbs of the events that tell the way from one status to the next."""
    verbs = [] if before is not None else ["created"]
    if before is None or before.phase is not after.phase:
        told = {
            ModelPhase.MODEL_LOADING: "downloading",
            ModelPhase.READY: "ready",
            ModelPhase.FAILED: "failed",
        }
        verbs += [told[after.phase]] if after.phase in told else []
    return verbs


# --- shared storage


class Removal(StrEnum):
    """What became of a place's files."""

    REMOVED = "removed"
    KEPT = "kept"
    """Arks did not make their storage."""
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Claim:
    """A model that wants a place: a path in some storage, `/` between its parts."""

    key: Key
    place: str
    order: Order
    created_at: datetime

    @property
    def writes(self) -> bool:
        return self.order.kind is SourceKind.HUB


def overlap(first: str, second: str) -> bool:
    """Whether two places are the same or one lies inside the other."""
    return f"{first}/".startswith(f"{second}/") or f"{second}/".startswith(f"{first}/")


def conflict_of(mine: Claim, others: Iterable[Claim]) -> str | None:
    """Why `mine` may not have its place. The oldest model has it, and all that want the same weights with it."""
    if not mine.writes:
        return None
    writers = [other for other in others if other.writes and other.key != mine.key and overlap(mine.place, other.place)]
    first = min([mine, *writers], key=lambda claim: (claim.created_at, claim.key))
    if first is mine or (first.place == mine.place and first.order.fingerprint == mine.order.fingerprint):
        return None
    return (
        f"the storage {mine.place} is taken: ArksModel {first.key} keeps {first.order.origin} in {first.place}; "
        "give another storage.subPath"
    )


def users_of(place: str, claims: Iterable[Claim], besides: Key) -> list[Key]:
    """Other models that use the place or a part of it."""
    return sorted(claim.key for claim in claims if claim.key != besides and overlap(claim.place, place))


# --- progress


@dataclass(frozen=True, slots=True)
class Sample:
    at_seconds: float
    """Of a monotonic clock."""
    done_bytes: int


RATE_WINDOW_SECONDS = 10.0


def sampled(samples: Sequence[Sample], newest: Sample) -> tuple[Sample, ...]:
    """The samples that a rate is taken from, with the newest one: those of the last seconds, two at least."""
    if samples and newest.done_bytes < samples[-1].done_bytes:
        return (newest,)  # something was thrown away: the rate starts over
    recent = [sample for sample in samples if newest.at_seconds - sample.at_seconds <= RATE_WINDOW_SECONDS]
    kept = recent or list(samples[-1:])
    if len(kept) > 64:
        kept = kept[::2]
    return (*kept, newest)


def progress_of(samples: Sequence[Sample], total_bytes: int | None) -> DownloadProgress:
    """Percent, rate over the samples' time and what remains at that rate; absent where they cannot be known."""
    done = samples[-1].done_bytes if samples else 0
    known = total_bytes is not None and total_bytes > 0
    percent = round(100.0 * min(1.0, done / total_bytes), 1) if total_bytes else None
    rate: int | None = None
    remaining: int | None = None
    seconds = samples[-1].at_seconds - samples[0].at_seconds if samples else 0.0
    if seconds > 0:
        rate = max(0, int((done - samples[0].done_bytes) / seconds))
    if known and total_bytes is not None and rate:
        remaining = -(-max(0, total_bytes - done) // rate)
    return DownloadProgress(
        done_bytes=done,
        total_bytes=total_bytes,
        percent=percent,
        bytes_per_second=rate,
        remaining_seconds=remaining,
    )


def shown_progress(seen: Seen) -> DownloadProgress | None:
    """Of the loading under way; of what is complete and was downloaded: all of it."""
    if seen.stored.content is Content.COMPLETE:
        if seen.order.kind is not SourceKind.HUB:
            return None
        size = seen.stored.size_bytes
        return DownloadProgress(done_bytes=size, total_bytes=size, percent=100.0)
    if seen.loading is None or seen.loading.fingerprint != seen.order.fingerprint:
        return None
    return seen.loading.progress


def human_bytes(size_bytes: int) -> str:
    """98.9 MB; powers of 1000, as disks and networks are sold."""
    size = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


# --- what engines load


def loadable(files: Sequence[str]) -> str:
    """Which of a directory's files engines load: the one GGUF model in it, or "" for the directory itself.

    A GGUF model in several files (`x-00001-of-00003.gguf`) is loaded by its first; projectors (`mmproj`) are no models.
    With several models, or weights of another format besides, only the application can say which.
    """
    weights = [name for name in files if name.endswith((".safetensors", ".bin", ".pt", ".pth"))]
    models = [name for name in files if name.endswith(".gguf") and not name.rpartition("/")[2].startswith("mmproj")]
    first_parts = [name for name in models if _part_of(name) in {None, 1}]
    return first_parts[0] if len(first_parts) == 1 and not weights else ""


def _part_of(name: str) -> int | None:
    """The number of a part of a GGUF model in several files; None for a model in one."""
    stem = name.removesuffix(".gguf")
    head, _, count = stem.rpartition("-of-")
    part = head.rpartition("-")[2]
    return int(part) if count.isdigit() and part.isdigit() and head else None
