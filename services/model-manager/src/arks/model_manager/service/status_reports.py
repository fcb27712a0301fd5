"""Write a model's status and fact, and publish its events."""

from collections.abc import Callable

import structlog

from arks.contracts.conditions import find_condition
from arks.contracts.resources import ArksModel, ArksModelStatus, ModelPhase
from arks.kit.clock import Clock
from arks.kit.home import Resources
from arks.kit.key import Key, key_of
from arks.kit.status import NEVER, StatusWriter
from arks.model_manager.domain.status import event_verbs
from arks.model_manager.service.ports import Publisher

log = structlog.get_logger(__name__)

MakeStatus = Callable[[ArksModelStatus | None], ArksModelStatus]
"""Makes the new status from the last one, whose conditions keep their times."""


class StatusReports:
    def __init__(
        self,
        models: Resources[ArksModel],
        publisher: Publisher,
        clock: Clock,
        *,
        progress_seconds: float,
        progress_event_seconds: float,
    ) -> None:
        """Shortest times between two writes of progress to a status, and between two `progress` events."""
        self._statuses: StatusWriter[ArksModel, ArksModelStatus] = StatusWriter(models, clock)
        self._publisher = publisher
        self._clock = clock
        self._progress_seconds = progress_seconds
        self._progress_event_seconds = progress_event_seconds
        self._progress_event_at: dict[Key, float] = {}

    def statuses(self) -> dict[Key, ArksModelStatus]:
        """The last written status of each model."""
        return self._statuses.statuses()

    async def write(self, model: ArksModel, make_status: MakeStatus) -> float | None:
        """Write what changed. Returns seconds until progress that was held back may be written."""
        before = self._statuses.last(model).status
        status = make_status(before)
        self._publisher.write_fact(model, status)
        if _differs_in_progress_only(before, status):
            remaining = self._statuses.wait_seconds(model, self._progress_seconds)
            if remaining > 0:
                return remaining if before != status else None
        await self._statuses.write(model, status)
        self._publish_events(model, before, status)
        return None

    def forget(self, key: Key) -> None:
        self._publisher.remove_fact(key)
        self._statuses.forget(key)
        self._progress_event_at.pop(key, None)

    def _publish_events(self, model: ArksModel, before: ArksModelStatus | None, after: ArksModelStatus) -> None:
        for verb in event_verbs(before, after):
            ready = find_condition(after.conditions, "Ready")
            log.info("model", key=model.key, verb=verb, message=ready.message if ready is not None else "")
            self._publisher.publish_event(verb, model, after)
        progressed = before is None or before.progress != after.progress
        if progressed and after.phase is ModelPhase.MODEL_LOADING and after.progress is not None:
            self._publish_progress(model, after)

    def _publish_progress(self, model: ArksModel, status: ArksModelStatus) -> None:
        """Publish the event, unless the last one was a moment ago."""
        key, now = key_of(model), self._clock.monotonic()
        if now - self._progress_event_at.get(key, NEVER) >= self._progress_event_seconds:
            self._progress_event_at[key] = now
            self._publisher.publish_event("progress", model, status)


def _differs_in_progress_only(before: ArksModelStatus | None, after: ArksModelStatus) -> bool:
    """Also true for equal ones."""
    return before is not None and before.model_copy(update={"progress": after.progress}) == after
