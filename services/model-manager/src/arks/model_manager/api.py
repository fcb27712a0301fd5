"""What makes model-manager work: changes of ArksModels, and changes of what their storage holds."""

from collections.abc import Callable

from arks.contracts.resources import ArksModel
from arks.kit.clock import Clock
from arks.kit.home import Resources
from arks.kit.reconcile import Controller
from arks.model_manager.service import ModelManager

OnChange = Callable[[str], None]
"""Takes the place in which something changed."""


def watch(manager: ModelManager, models: Resources[ArksModel], clock: Clock) -> tuple[Controller, OnChange]:
    """The controller that reconciles models, and what storage calls when something changed in a place."""
    controller = Controller("models", manager.reconcile, clock=clock)

    def storage_changed(place: str) -> None:
        for key in manager.of_place(place):
            controller.enqueue(key)

    models.cache.subscribe(controller.enqueue)
    manager.neighbour_changed = controller.enqueue
    return controller, storage_changed
