"""What the status says after a decision, and which events that makes."""

from datetime import datetime

from arks.contracts.conditions import MODEL_CONDITIONS, NEW_INCOMING, initial_conditions, set_condition
from arks.contracts.resources import ArksModelStatus, DownloadProgress, ModelPhase
from arks.model_manager.domain.decision import Decision, Verdict
from arks.model_manager.domain.observation import Content, Seen, Stored
from arks.model_manager.domain.source import SourceKind


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
    ready = Verdict(True, "Ready", "The model is ready now") if decision.ready else why
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


def shown_progress(seen: Seen) -> DownloadProgress | None:
    """Of the loading under way; of what is complete and was downloaded: all of it."""
    if seen.stored.content is Content.COMPLETE:
        if seen.order.kind is not SourceKind.HUB:
            return None
        size = seen.stored.size_bytes
        return DownloadProgress(done_bytes=size, total_bytes=size, percent=100.0)
    loading = seen.loading
    if loading is None or loading.fingerprint != seen.order.fingerprint or loading.progress.total_bytes is None:
        return None
    return loading.progress
