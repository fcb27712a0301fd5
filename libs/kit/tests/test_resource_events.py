from arks.contracts.resources import ArksModel
from arks.contracts.subjects import EventKind
from arks.events.v1.events_pb2 import DownloadProgress, ResourceEvent
from arks.kit.key import Key
from arks.kit.resource_events import ResourceEvents
from arks.kit.testing.fakes import FakePublisher, Published

MODEL = ArksModel.from_stored(
    {
        "apiVersion": "arks.ai/v1",
        "kind": "ArksModel",
        "metadata": {"name": "qwen", "namespace": "team", "uid": "u1", "generation": 3},
        "spec": {"model": "q/w"},
    }
)


def test_an_event_names_its_resource_and_the_reason() -> None:
    publisher = FakePublisher()
    progress = DownloadProgress(done_bytes=7)
    ResourceEvents(publisher).publish(
        MODEL, "progress", reason="Loading", message="7 bytes", phase="ModelLoading", download=progress
    )
    event = ResourceEvent(
        kind="ArksModel",
        namespace="team",
        name="qwen",
        generation=3,
        phase="ModelLoading",
        reason="Loading",
        message="7 bytes",
        download=progress,
    )
    assert [Published(EventKind.MODEL, "progress", Key("team", "qwen"), event, None)] == publisher.published


def test_an_event_that_happens_once_has_an_id_of_its_resource_and_verb() -> None:
    publisher = FakePublisher()
    ResourceEvents(publisher).publish(MODEL, "deleted", reason="Deleted", message="", once=True)
    assert "u1-deleted" == publisher.published[0].event_id
