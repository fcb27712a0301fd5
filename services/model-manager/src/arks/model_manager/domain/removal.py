"""What happens to the files of a deleted model."""

from collections.abc import Sequence
from enum import StrEnum

from arks.kit.key import Key
from arks.model_manager.domain.path_use import PathUse
from arks.model_manager.domain.source_kind import SourceKind


class Removal(StrEnum):
    """What happened to the files of a storage path."""

    REMOVED = "removed"
    KEPT = "kept"
    """Arks did not create their storage."""
    SHARED = "shared"
    """Another model uses them, and owns their storage from now on."""
    LENT = "lent"
    """Running engines use them: the files stay until those end, unless a new model takes the storage over."""
    ABSENT = "absent"


_MESSAGES = {
    Removal.REMOVED: "files in {path} removed",
    Removal.SHARED: "files in {path} kept: other models use their storage",
    Removal.LENT: "files in {path} kept as long as the engines that use them",
    Removal.KEPT: "files in {path} kept: Arks did not create their storage",
    Removal.ABSENT: "there were no files",
}


def removal_message(use: PathUse, removal: Removal, users: Sequence[Key]) -> str:
    """For the event `deleted`. `users`: other models that use the path."""
    if users:
        return f"files kept: also used by {', '.join(map(str, users))}"
    if use.source.kind is SourceKind.FILE:
        return f"{use.source.path} kept: it was used in place"
    return _MESSAGES[removal].format(path=use.storage_path)
