"""A model's status after a decision, and the events of its changes."""

from datetime import datetime

from arks.contracts.conditions import NEW_INCOMING, find_condition, initial_conditions, is_true, set_condition
from arks.contracts.resources import ArksModelStatus, Condition, DownloadProgress, ModelPhase
from arks.model_manager.domain.decision import Decision, Verdict
from arks.model_manager.domain.node_cache.report import CONDITION as CACHED
from arks.model_manager.domain.node_cache.report import COPY_FAILED, CacheReport
from arks.model_manager.domain.observation import Content, Observation, StoredWeights

_VERBS = {ModelPhase.MODEL_LOADING: "downloading", ModelPhase.READY: "ready", ModelPhase.FAILED: "failed"}
"""Event verb of the change to each phase."""


def status_of(
    decision: Decision,
    stored: StoredWeights,
    progress: DownloadProgress | None,
    before: ArksModelStatus | None,
    *,
    generation: int,
    now: datetime,
    cache: CacheReport | None = None,
) -> ArksModelStatus:
    """The status after `decision`. A condition's time changes only with its status.

    `cache`: of a model whose spec wants copies on nodes.
    """
    conditions = list(before.conditions) if before is not None else []
    if not conditions:
        conditions = initial_conditions(ArksModelStatus.condition_types, now=now, observed_generation=generation)
    downloaded = decision.downloaded or Verdict(False, NEW_INCOMING, "")
    ready = Verdict(True, "Ready", "The model is ready now") if decision.ready else decision.explanation
    verdicts = (decision.storage, downloaded, ready)
    for type_, verdict in zip(ArksModelStatus.condition_types, verdicts, strict=True):
        conditions = set_condition(
            conditions,
            type_,
            verdict.ok,
            verdict.reason,
            verdict.message,
            now=now,
            observed_generation=generation,
        )
    conditions = _with_cache(conditions, cache, generation, now)
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
        memory=stored.memory if decision.ready else None,
        cache=cache.status if cache is not None else None,
    )


def _with_cache(
    conditions: list[Condition], cache: CacheReport | None, generation: int, now: datetime
) -> list[Condition]:
    if cache is None:
        return [condition for condition in conditions if condition.type != CACHED]
    verdict = cache.verdict
    return set_condition(
        conditions, CACHED, verdict.ok, verdict.reason, verdict.message, now=now, observed_generation=generation
    )


def event_verbs(before: ArksModelStatus | None, after: ArksModelStatus) -> list[str]:
    """Verbs of the events that lead from one status to the next. `before`: None for a new model."""
    verbs = [] if before is not None else ["created"]
    if (before is None or before.phase is not after.phase) and after.phase in _VERBS:
        verbs.append(_VERBS[after.phase])
    cached = is_true(after.conditions, CACHED)
    if cached != is_true(before.conditions if before is not None else [], CACHED):
        verbs += ["cached"] if cached else []
    if _cache_failed(after) and (before is None or not _cache_failed(before)):
        verbs.append("cache-failed")
    return verbs


def _cache_failed(status: ArksModelStatus) -> bool:
    condition = find_condition(status.conditions, CACHED)
    return condition is not None and condition.reason == COPY_FAILED


def progress_in_status(observation: Observation) -> DownloadProgress | None:
    """Progress of the running download; 100 % for weights that were downloaded; otherwise None."""
    if observation.stored.content is Content.COMPLETE:
        if not observation.source.kind.downloads:
            return None
        size = observation.stored.size_bytes
        return DownloadProgress(done_bytes=size, total_bytes=size, percent=100.0)
    download = observation.download
    if download is None or download.fingerprint != observation.source.fingerprint:
        return None
    return download.progress if download.progress.total_bytes is not None else None
