"""Events about resources: `<kind>.<verb>` on the bus, with the resource's name, generation and the reason."""

from dataclasses import dataclass

from arks.contracts.resources import Resource
from arks.contracts.subjects import EventKind
from arks.events.v1.events_pb2 import DownloadProgress, LimitReached, ReplicaChange, ResourceEvent
from arks.kit.key import Key, key_of
from arks.kit.outbox import EventPublisher

_KINDS = {
    "ArksModel": EventKind.MODEL,
    "ArksApplication": EventKind.APPLICATION,
    "ArksDisaggregatedApplication": EventKind.APPLICATION,
    "ArksAutoscaler": EventKind.SCALING,
    "ArksEndpoint": EventKind.ENDPOINT,
    "ArksQuota": EventKind.QUOTA,
    "ArksToken": EventKind.TOKEN,
}


@dataclass(frozen=True, slots=True)
class ResourceRef:
    """What an event names of its resource."""

    kind: str
    key: Key
    uid: str | None
    generation: int | None

    @classmethod
    def of(cls, resource: Resource) -> "ResourceRef":
        return cls(resource.kind, key_of(resource), resource.metadata.uid, resource.metadata.generation)


class ResourceEvents:
    def __init__(self, publisher: EventPublisher) -> None:
        self._publisher = publisher

    def publish(
        self,
        about: Resource | ResourceRef,
        verb: str,
        *,
        reason: str,
        message: str,
        phase: str = "",
        once: bool = False,
        download: DownloadProgress | None = None,
        replica: ReplicaChange | None = None,
        limit: LimitReached | None = None,
    ) -> None:
        """Never blocks. `once`: happens once in the life of the resource, so that repeats are deduplicated."""
        resource = ResourceRef.of(about) if isinstance(about, Resource) else about
        event = ResourceEvent(
            kind=resource.kind,
            namespace=resource.key.namespace,
            name=resource.key.name,
            generation=resource.generation or 0,
            phase=phase,
            reason=reason,
            message=message,
            download=download,
            replica=replica,
            limit=limit,
        )
        event_id = f"{resource.uid}-{verb}" if once else None
        self._publisher.publish_event(_KINDS[resource.kind], verb, resource.key, event, event_id)
