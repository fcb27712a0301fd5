"""What the bus hears of a model: its fact, for machines, and its events, for people."""

from collections.abc import Callable

from google.protobuf.timestamp_pb2 import Timestamp

from arks.contracts.conditions import find_condition
from arks.contracts.resources import ArksModel, ArksModelStatus, ModelPhase
from arks.contracts.subjects import EventKind
from arks.events.v1.events_pb2 import DownloadProgress, ResourceEvent
from arks.events.v1.facts_pb2 import ModelFact
from arks.kit.bus import Bus
from arks.kit.clock import Clock
from arks.kit.facts import FactWriter
from arks.kit.key import Key


class BusAnnouncer:
    def __init__(
        self, bus: Bus, facts: FactWriter[ModelFact], clock: Clock, claim_of: Callable[[ArksModel], str] = lambda _: ""
    ) -> None:
        """`claim_of`: name of the claim that holds a model, where there are claims."""
        self._bus = bus
        self._claim_of = claim_of
        self._facts = facts
        self._clock = clock

    def fact(self, model: ArksModel, status: ArksModelStatus) -> None:
        """Put the fact, with a new time only when it says something new."""
        key = Key(model.namespace, model.name)
        fact = _fact(model, status)
        fact.claim_name = self._claim_of(model)
        before = self._facts.get(key)
        if before is not None:
            fact.updated_at.CopyFrom(before.updated_at)
            if fact == before:
                return
        fact.updated_at.CopyFrom(self._now())
        self._facts.put(key, fact)

    def event(self, verb: str, model: ArksModel, status: ArksModelStatus, message: str | None = None) -> None:
        reason, sentence = why(status)
        event = ResourceEvent(
            kind=model.kind,
            namespace=model.namespace,
            name=model.name,
            generation=model.metadata.generation or 0,
            phase=status.phase,
            reason=reason,
            message=sentence if message is None else message,
        )
        if status.progress is not None:
            event.download.CopyFrom(_progress(status))
        self._bus.publish_event(EventKind.MODEL, verb, Key(model.namespace, model.name), event)

    def gone(self, key: Key) -> None:
        if self._facts.get(key) is not None:
            self._facts.remove(key)

    def complete(self) -> None:
        self._facts.complete()

    def _now(self) -> Timestamp:
        now = Timestamp()
        now.FromDatetime(self._clock.now())
        return now


def _fact(model: ArksModel, status: ArksModelStatus) -> ModelFact:
    reason, message = why(status)
    return ModelFact(
        namespace=model.namespace,
        name=model.name,
        generation=status.observed_generation or 0,
        ready=status.phase is ModelPhase.READY,
        path=status.path or "",
        model=model.spec.model,
        size_bytes=status.size_bytes or 0,
        reason=reason,
        message=message,
    )


def why(status: ArksModelStatus) -> tuple[str, str]:
    """Reason and message of what the phase is."""
    ready = find_condition(status.conditions, "Ready")
    return (ready.reason, ready.message) if ready is not None else ("", "")


def _progress(status: ArksModelStatus) -> DownloadProgress:
    progress = status.progress
    if progress is None:
        return DownloadProgress()
    return DownloadProgress(
        done_bytes=progress.done_bytes,
        total_bytes=progress.total_bytes or 0,
        bytes_per_second=progress.bytes_per_second or 0,
        remaining_seconds=progress.remaining_seconds or 0,
    )
