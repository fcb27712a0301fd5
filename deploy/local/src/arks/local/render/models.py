"""The table of `arks model ls`."""

from collections.abc import Mapping, Sequence
from typing import Any

from arks.contracts.quantities import human_bytes
from arks.local.render.table import UNLIMITED, table

Resource = Mapping[str, Any]


def models_table(models: Sequence[Resource], applications: Sequence[Resource], width: int = UNLIMITED) -> str:
    """Source, state, size, storage path and applications of each model."""
    rows = [
        (
            model["metadata"]["namespace"],
            model["metadata"]["name"],
            source_kind(model),
            _state(model.get("status") or {}),
            _size(model.get("status") or {}),
            (model.get("status") or {}).get("path") or "-",
            ", ".join(users_of(model, applications)) or "-",
        )
        for model in models
    ]
    return table(("namespace", "name", "source", "state", "size", "path", "used by"), rows, width=width)


def source_kind(model: Resource) -> str:
    """`huggingface`, `s3` and so on; `storage` for a model whose storage a user fills."""
    return next(iter(model["spec"].get("source") or {}), "storage")


def users_of(model: Resource, applications: Sequence[Resource]) -> list[str]:
    """Names of the applications that load the model."""
    metadata = model["metadata"]
    return [
        application["metadata"]["name"]
        for application in applications
        if application["metadata"]["namespace"] == metadata["namespace"]
        and (application["spec"].get("model") or {}).get("name") == metadata["name"]
    ]


def _state(status: Resource) -> str:
    percent = (status.get("progress") or {}).get("percent")
    phase = status.get("phase") or "Pending"
    return f"{phase} {percent:.0f}%" if percent is not None and phase == "ModelLoading" else phase


def _size(status: Resource) -> str:
    size = status.get("sizeBytes") or (status.get("progress") or {}).get("totalBytes")
    return "-" if size is None else human_bytes(size)
