"""All that admission looks up, in memory, current within a watch's delay.

Policies, keys, quotas and endpoints follow their caches at once. Keys that are in Secrets follow the `keyring`.
Keys themselves are not kept: only their keyed hashes are.
"""

from collections.abc import Callable, Sequence

from arks.contracts.resources import ArksQuota, key_digest
from arks.events.v1.facts_pb2 import EndpointFact
from arks.kit.cache import Cache
from arks.kit.key import Key
from arks.token_quota.domain.access import EndpointState, KeyHolder, Policy
from arks.token_quota.domain.key_holders import KeyHolders
from arks.token_quota.domain.keys import KeyClaim, KeyReading
from arks.token_quota.domain.limits import Budget
from arks.token_quota.domain.token import TokenRecord
from arks.token_quota.domain.translate import budget_of

_MAX_FORMER_CHARGES = 10_000
"""Of deleted tokens: their last requests are still to be charged."""


class ChangeSignal:
    """Calls each subscriber with the key of a resource whose state changed. A subscriber must not block."""

    def __init__(self) -> None:
        self._subscribers: list[Callable[[Key], None]] = []

    def subscribe(self, subscriber: Callable[[Key], None]) -> None:
        self._subscribers.append(subscriber)

    def emit(self, key: Key) -> None:
        for subscriber in self._subscribers:
            subscriber(key)


class QuotaUsers:
    """Which tokens name which quota."""

    def __init__(self) -> None:
        self._users: dict[Key, set[Key]] = {}

    def of(self, quota: Key) -> list[Key]:
        return list(self._users.get(quota, ()))

    def update(self, token: Key, before: Policy | None, after: Policy | None) -> None:
        """`before` and `after`: None while the token does not exist."""
        old = before.quotas if before is not None else set()
        new = after.quotas if after is not None else set()
        for quota in (Key(token.namespace, name) for name in old - new):
            self._users[quota].discard(token)
            if not self._users[quota]:
                del self._users[quota]
        for quota in (Key(token.namespace, name) for name in new - old):
            self._users.setdefault(quota, set()).add(token)


class Index:
    def __init__(
        self, pepper: bytes, tokens: Cache[TokenRecord], quotas: Cache[ArksQuota], endpoints: Cache[EndpointFact]
    ) -> None:
        self._pepper = pepper
        self._tokens = tokens
        self._quotas = quotas
        self._endpoint_facts = endpoints
        self._policies: dict[Key, Policy] = {}
        self._budgets: dict[Key, Budget] = {}
        self._endpoints: dict[Key, EndpointState] = {}
        self._by_model: dict[Key, tuple[str, ...]] = {}
        """Namespace and public model name, where it is not the endpoint's -> names of endpoints, sorted."""
        self._readings: dict[Key, KeyReading] = {}
        self.holders = KeyHolders(self._created_seconds)
        self._quota_users = QuotaUsers()
        self._resets: dict[Key, int] = {}
        self._former_quotas: dict[tuple[str, str, str], str] = {}
        self.token_changes = ChangeSignal()
        """Tokens whose status may change: by their spec, their keys, another token's claim to their key, or a quota
        that was created or deleted.
        """
        self.budget_changes = ChangeSignal()
        """Tokens whose budget has other limits or was reset."""
        self.endpoint_changes = ChangeSignal()
        """Endpoints that appeared, disappeared, or whose readiness changed."""
        self.quota_changes = ChangeSignal()
        tokens.subscribe(self._token_changed)
        quotas.subscribe(self._quota_changed)
        endpoints.subscribe(self._endpoint_changed)

    # --- queries of admission

    def holder(self, key: str) -> KeyHolder | None:
        held = self.holders.holder(self.hash(key))
        policy = self._policies.get(held.token) if held is not None else None
        return None if held is None or policy is None else KeyHolder(policy, held.until_seconds)

    def endpoint(self, namespace: str, name: str) -> EndpointState | None:
        return self._endpoints.get(Key(namespace, name))

    def endpoint_of(self, policy: Policy, model: str) -> str:
        """Name of the endpoint that `model` leads to: the endpoint of that name, or one that serves it. Several may;
        then the first that the policy permits.
        """
        if Key(policy.namespace, model) in self._endpoints:
            return model
        names = self._by_model.get(Key(policy.namespace, model), ())
        return next((name for name in names if name in policy.permissions), names[0] if names else model)

    def budget(self, namespace: str, quota: str) -> Budget | None:
        return self._budgets.get(Key(namespace, quota))

    def models(self, policy: Policy) -> list[str]:
        """Public names of the models that exist and that the policy permits, sorted."""
        found = ((name, self._endpoints.get(Key(policy.namespace, name))) for name in policy.permissions)
        return sorted({state.model or name for name, state in found if state is not None})

    def model_created_seconds(self, policy: Policy, model: str) -> int:
        """When the endpoint that `model` leads to was created; 0 if it is not known."""
        state = self._endpoints.get(Key(policy.namespace, self.endpoint_of(policy, model)))
        return 0 if state is None else state.created_seconds

    # --- queries of metering

    def quota_of(self, namespace: str, token: str, endpoint: str) -> str:
        """Name of the budget that this token's requests to this endpoint are charged to; empty for none."""
        policy = self._policies.get(Key(namespace, token))
        permission = policy.permissions.get(endpoint) if policy is not None else None
        if permission is not None:
            return permission.quota or ""
        return self._former_quotas.get((namespace, token, endpoint), "")

    def namespaces(self) -> set[str]:
        """Those with tokens."""
        return {key.namespace for key in self._policies}

    # --- queries and updates of reconcilers

    def hash(self, key: str) -> bytes:
        return key_digest(self._pepper, key)

    def reading(self, token: Key) -> KeyReading | None:
        """What was read last for this token, if it has keys in Secrets."""
        return self._readings.get(token)

    def update_keys(self, token: Key, reading: KeyReading | None) -> None:
        """`reading`: None when the token is deleted."""
        before = self._readings.pop(token, None)
        if reading is not None:
            self._readings[token] = reading
        self._claim(token, reading.claims if reading is not None else ())
        if before is not None and reading is not None and before != reading:
            self.token_changes.emit(token)

    def holds(self, token: Key, claim: KeyClaim) -> bool:
        """Whether the key leads to this token."""
        return self.holders.holds(token, claim)

    def reset_done(self, quota: Key, generation: int) -> None:
        """A reset of this budget is in the ledger: from now on it has a counter of its own."""
        if generation > self.resets(quota):
            self._resets[quota] = generation
            self._update_budget(quota)

    def resets(self, quota: Key) -> int:
        return self._resets.get(quota, 0)

    # --- changes

    def _created_seconds(self, key: Key) -> float:
        token = self._tokens.get(key)
        return float("inf") if token is None else token.created_seconds

    def _token_changed(self, key: Key) -> None:
        token = self._tokens.get(key)
        before = self._policies.get(key)
        if before is not None:
            self._keep_quotas(before)
        after = None if token is None or token.deleting else token.policy
        if after is None:
            self._policies.pop(key, None)
        else:
            self._policies[key] = after
        self._quota_users.update(key, before, after)
        if token is None or after is None:
            self.update_keys(key, None)
        elif token.claims is not None:
            self._readings.pop(key, None)
            self._claim(key, token.claims)
        self.token_changes.emit(key)

    def _claim(self, token: Key, claims: Sequence[KeyClaim]) -> None:
        for other in self.holders.claim(token, claims):
            self.token_changes.emit(other)

    def _keep_quotas(self, policy: Policy) -> None:
        """Requests in flight are still charged to the quotas of a permission that is withdrawn."""
        for endpoint, permission in policy.permissions.items():
            user = (policy.namespace, policy.name, endpoint)
            self._former_quotas.pop(user, None)
            if permission.quota:
                self._former_quotas[user] = permission.quota
        while len(self._former_quotas) > _MAX_FORMER_CHARGES:
            self._former_quotas.pop(next(iter(self._former_quotas)))

    def _quota_changed(self, key: Key) -> None:
        existed = key in self._budgets
        self._update_budget(key)
        self.quota_changes.emit(key)
        if existed != (key in self._budgets):
            for token in self._quota_users.of(key):
                self.token_changes.emit(token)

    def _update_budget(self, key: Key) -> None:
        before = self._budgets.get(key)
        self._read_budget(key)
        if before != self._budgets.get(key):
            for token in self._quota_users.of(key):
                self.budget_changes.emit(token)

    def _read_budget(self, key: Key) -> None:
        quota = self._quotas.get(key)
        if quota is None:
            self._budgets.pop(key, None)
            return
        reported = quota.status.reset_generation if quota.status is not None else None  # by another replica
        self._resets[key] = max(self.resets(key), reported or 0)
        self._budgets[key] = budget_of(quota, self._resets[key])

    def _update_models(self, key: Key, before: EndpointState | None, after: EndpointState | None) -> None:
        if before is not None and before.model:
            model = Key(key.namespace, before.model)
            names = tuple(name for name in self._by_model.pop(model, ()) if name != key.name)
            if names:
                self._by_model[model] = names
        if after is not None and after.model:
            model = Key(key.namespace, after.model)
            self._by_model[model] = tuple(sorted({*self._by_model.get(model, ()), key.name}))

    def _endpoint_changed(self, key: Key) -> None:
        fact, before = self._endpoint_facts.get(key), self._endpoints.get(key)
        if fact is None:
            self._endpoints.pop(key, None)
        else:
            self._endpoints[key] = EndpointState(
                fact.ready,
                "" if fact.ready else fact.message,
                fact.model,
                fact.engine_model,
                frozenset(fact.unsupported),
                _affinity(fact),
                fact.created_at.seconds,
            )
        self._update_models(key, before, self._endpoints.get(key))
        if before != self._endpoints.get(key):
            self.endpoint_changes.emit(key)


def _affinity(fact: EndpointFact) -> str:
    if not fact.HasField("affinity"):
        return ""
    return ",".join(filter(None, (str(fact.affinity.prompt_bytes), fact.affinity.header)))
