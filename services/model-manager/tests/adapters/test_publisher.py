from datetime import UTC, datetime
from typing import Any

from arks.contracts.conditions import set_condition
from arks.contracts.resources import ArksModel, ArksModelStatus, ModelPhase
from arks.model_manager.adapters.publisher import BusPublisher

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Published:
    """Stands for ResourceEvents and FactWriter; keeps verb, reason and message of each event."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, str]] = []

    def publish(self, about: object, verb: str, *, reason: str, message: str, **_: object) -> None:
        self.events.append((verb, reason, message))


def test_a_model_that_is_created_is_not_called_ready() -> None:
    published: Any = Published()
    model = ArksModel.from_dict(
        {"apiVersion": "arks.ai/v1", "kind": "ArksModel", "metadata": {"name": "m"}, "spec": {"model": "a/b"}}
    )
    conditions = set_condition([], "Ready", True, "Ready", "The model is ready now", now=NOW, observed_generation=1)
    status = ArksModelStatus(phase=ModelPhase.READY, conditions=conditions)
    publisher = BusPublisher(published, published)
    for verb in ("created", "ready"):
        publisher.publish_event(verb, model, status)
    assert [
        ("created", "Created", "Accepted by model-manager"),
        ("ready", "Ready", "The model is ready now"),
    ] == published.events
