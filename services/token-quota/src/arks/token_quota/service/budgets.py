"""The budgets of all ArksQuotas, in memory, current within a watch's delay."""

from arks.contracts.resources import ArksQuota
from arks.kit.cache import Cache
from arks.kit.key import Key
from arks.token_quota.domain.limits import Budget
from arks.token_quota.domain.translate import budget_of
from arks.token_quota.service.change_signal import ChangeSignal


class Budgets:
    def __init__(self, quotas: Cache[ArksQuota]) -> None:
        self._quotas = quotas
        self._budgets: dict[Key, Budget] = {}
        self._resets: dict[Key, int] = {}
        self.changes = ChangeSignal()
        """Quotas whose budget has other limits, was reset, appeared or disappeared."""
        self.existence_changes = ChangeSignal()
        """Quotas that appeared or disappeared."""
        quotas.subscribe(self._read)

    def of(self, namespace: str, quota: str) -> Budget | None:
        return self._budgets.get(Key(namespace, quota))

    def resets(self, quota: Key) -> int:
        return self._resets.get(quota, 0)

    def reset_done(self, quota: Key, generation: int) -> None:
        """A reset of this budget is in the ledger: from now on it has a counter of its own."""
        if generation > self.resets(quota):
            self._resets[quota] = generation
            self._read(quota)

    def _read(self, key: Key) -> None:
        before, after = self._budgets.pop(key, None), None
        quota = self._quotas.get(key)
        if quota is not None:
            reported = quota.status.reset_generation if quota.status is not None else None  # by another replica
            self._resets[key] = max(self.resets(key), reported or 0)
            after = self._budgets[key] = budget_of(quota, self._resets[key])
        if before != after:
            self.changes.emit(key)
        if (before is None) != (after is None):
            self.existence_changes.emit(key)
