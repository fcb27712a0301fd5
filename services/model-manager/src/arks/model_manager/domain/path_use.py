"""Models that use the same storage path: which one owns it, and which share it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from arks.kit.key import Key
from arks.model_manager.domain.storage_path import overlap, with_ancestors
from arks.model_manager.domain.weights_source import WeightsSource


@dataclass(frozen=True, slots=True)
class PathUse:
    """One model's use of a storage path."""

    key: Key
    storage_path: str
    source: WeightsSource
    created_at: datetime
    """Of the model."""

    @property
    def writes(self) -> bool:
        return self.source.kind.downloads

    def same_weights(self, other: "PathUse") -> bool:
        """Whether both models can share the files of one storage path."""
        return self.storage_path == other.storage_path and self.source.fingerprint == other.source.fingerprint


class PathUses:
    """The path uses of all models, indexed by path: with hundreds of models, none is compared with all others."""

    def __init__(self) -> None:
        self._uses: dict[Key, PathUse] = {}
        self._at: dict[str, set[Key]] = {}
        self._under: dict[str, set[Key]] = {}
        """By the path itself and each ancestor of it."""

    def put(self, use: PathUse) -> None:
        self.drop(use.key)
        self._uses[use.key] = use
        self._at.setdefault(use.storage_path, set()).add(use.key)
        for ancestor in with_ancestors(use.storage_path):
            self._under.setdefault(ancestor, set()).add(use.key)

    def drop(self, key: Key) -> None:
        use = self._uses.pop(key, None)
        if use is None:
            return
        for index, paths in ((self._at, [use.storage_path]), (self._under, with_ancestors(use.storage_path))):
            for path in paths:
                index[path].discard(key)
                if not index[path]:
                    del index[path]

    def overlapping(self, storage_path: str) -> list[PathUse]:
        """Uses of the path, of paths in it and of paths that contain it."""
        keys = set(self._under.get(storage_path, ()))
        for ancestor in with_ancestors(storage_path):
            keys |= self._at.get(ancestor, set())
        return [self._uses[key] for key in sorted(keys)]


def conflict_of(use: PathUse, others: Iterable[PathUse]) -> str | None:
    """Why `use` may not write to its path: the oldest model owns it, and shares it with models of the same weights."""
    if not use.writes:
        return None
    path = use.storage_path
    writers = [other for other in others if other.writes and other.key != use.key and overlap(path, other.storage_path)]
    owner = min([use, *writers], key=lambda writer: (writer.created_at, writer.key))
    if owner is use or owner.same_weights(use):
        return None
    return (
        f"the storage {path} is taken: ArksModel {owner.key} keeps {owner.source.origin} in {owner.storage_path}; "
        "choose another storage.subPath"
    )


def other_users(storage_path: str, uses: Iterable[PathUse], key: Key) -> list[Key]:
    """Models other than `key` that use the path or a part of it."""
    return sorted(use.key for use in uses if use.key != key and overlap(use.storage_path, storage_path))
