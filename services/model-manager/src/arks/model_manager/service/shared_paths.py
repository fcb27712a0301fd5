"""Which models use which storage paths, and which of them a change concerns."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from arks.contracts.resources import ArksModel
from arks.kit.cache import Cache
from arks.kit.key import Key
from arks.model_manager.domain.path_use import PathUse, PathUses, conflict_of, other_users
from arks.model_manager.domain.weights_source import weights_source_of
from arks.model_manager.service.ports import Storage


class SharedPaths:
    def __init__(self, models: Cache[ArksModel], storage: Storage, default_endpoint: str) -> None:
        """`default_endpoint`: of the hub."""
        self.enqueue: Callable[[Key], None] = lambda _: None
        """Called with models that share storage with a changed one."""
        self._models = models
        self._storage = storage
        self._default_endpoint = default_endpoint
        self._computed: dict[Key, tuple[ArksModel, PathUse]] = {}
        self._uses = PathUses()
        """Of all models that are not being deleted."""
        self._reconciled: dict[Key, tuple[str, str]] = {}
        """Storage path and fingerprint of each model's last reconcile."""
        models.subscribe(self._register_path_use)

    def use_of(self, key: Key, model: ArksModel) -> PathUse:
        """The model's path use, computed once per version of the model."""
        computed = self._computed.get(key)
        if computed is not None and computed[0] is model:
            return computed[1]
        source = weights_source_of(model.spec, self._default_endpoint)
        created_at = model.metadata.creation_timestamp or datetime.max.replace(tzinfo=UTC)
        use = PathUse(key, self._storage.storage_path(key, model.spec), source, created_at)
        self._computed[key] = (model, use)
        return use

    def conflict_of(self, use: PathUse) -> str | None:
        return conflict_of(use, self._uses.overlapping(use.storage_path))

    def reconciled_at(self, storage_path: str) -> list[Key]:
        """Models whose last reconcile used exactly this path."""
        return [key for key, (path, _) in self._reconciled.items() if path == storage_path]

    def other_users(self, storage_path: str, key: Key) -> list[Key]:
        return other_users(storage_path, self._uses.overlapping(storage_path), key)

    def obscure_user(self, key: Key) -> Key | None:
        """A model of the same namespace whose path is not known, because no version of it could be read."""
        return next(
            (
                other
                for other in sorted(self._models.existing())
                if other.namespace == key.namespace
                and self._models.get(other) is None
                and (unreadable := self._models.unreadable(other)) is not None
                and not unreadable.deleting
            ),
            None,
        )

    def enqueue_all(self, keys: Iterable[Key]) -> None:
        for key in keys:
            self.enqueue(key)

    async def handle_change(self, use: PathUse) -> None:
        """After a change of path or source: stop the old download if no model needs it, and enqueue other users."""
        before, after = self._reconciled.get(use.key), (use.storage_path, use.source.fingerprint)
        if before == after:
            return
        self._reconciled[use.key] = after
        self.enqueue_all(self.other_users(use.storage_path, use.key))
        if before is None:
            return
        old_path, old_fingerprint = before
        _, download = await self._storage.observe(old_path, use.source)
        needed = before in self._reconciled.values()
        if download is not None and download.fingerprint == old_fingerprint and not needed:
            await self._storage.stop(old_path)
        self.enqueue_all(self.other_users(old_path, use.key))

    def forget(self, key: Key) -> str | None:
        """Forget a deleted model. Returns its path if no other model uses exactly that."""
        self._computed.pop(key, None)
        path, _ = self._reconciled.pop(key, (None, ""))
        return path if path is not None and not self.reconciled_at(path) else None

    def _register_path_use(self, key: Key) -> None:
        model = self._models.get(key)
        if model is None or model.metadata.deletion_timestamp is not None:
            self._uses.drop(key)
        else:
            self._uses.put(self.use_of(key, model))
