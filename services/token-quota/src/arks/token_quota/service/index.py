"""All that admission looks up, in memory, current within a watch's delay.

Policies, keys, quotas and endpoints follow their caches at once. Keys that are in Secrets follow the `keyring`.
Keys themselves are not kept: only their keyed hashes are.
"""

from collections.abc import Sequence

from arks.contracts.resources import key_digest
from arks.events.v1.facts_pb2 import EndpointFact
from arks.kit.cache import Cache
from arks.kit.key import Key
from arks.token_quota.domain.access import EndpointState, KeyHolder, Policy
from arks.token_quota.domain.key_holders import KeyHolders
from arks.token_quota.domain.keys import KeyClaim, KeyReading
from arks.token_quota.domain.limits import Budget
from arks.token_quota.domain.token import TokenRecord
from arks.token_quota.service.budgets import Budgets
from arks.token_quota.service.change_signal import ChangeSignal


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
        self, pepper: bytes, tokens: Cache[TokenRecord], budgets: Budgets, endpoints: Cache[EndpointFact]
    ) -> None:
        self._pepper = pepper
        self._tokens = tokens
        self._budgets = budgets
        self._endpoint_facts = endpoints
        self._policies: dict[Key, Policy] = {}
        self._endpoints: dict[Key, EndpointState] = {}
        self._by_model: dict[Key, tuple[str, ...]] = {}
        """Namespace and public model name, where it is not the endpoint's -> names of endpoints, sorted."""
        self._readings: dict[Key, KeyReading] = {}
        self.holders = KeyHolders(self._created_seconds)
        self._quota_users = QuotaUsers()
        self.token_changes = ChangeSignal()
        """Tokens whose status may change: by their spec, their keys, another token's claim to their key, or a quota
        that was created or deleted.
        """
        self.budget_changes = ChangeSignal()
        """Tokens whose budget has other limits or was reset."""
        self.endpoint_changes = ChangeSignal()
        """Endpoints that appeared, disappeared, or whose readiness changed."""
        tokens.subscribe(self._token_changed)
        budgets.changes.subscribe(lambda quota: self._emit_of_users(self.budget_changes, quota))
        budgets.existence_changes.subscribe(lambda quota: self._emit_of_users(self.token_changes, quota))
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
        return self._budgets.of(namespace, quota)

    def models(self, policy: Policy) -> list[str]:
        """Public names of the models that exist and that the policy permits, sorted."""
        found = ((name, self._endpoints.get(Key(policy.namespace, name))) for name in policy.permissions)
        return sorted({state.model or name for name, state in found if state is not None})

    def model_created_seconds(self, policy: Policy, model: str) -> int:
        """When the endpoint that `model` leads to was created; 0 if it is not known."""
        state = self._endpoints.get(Key(policy.namespace, self.endpoint_of(policy, model)))
        return 0 if state is None else state.created_seconds

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

    # --- changes

    def _created_seconds(self, key: Key) -> float:
        token = self._tokens.get(key)
        return float("inf") if token is None else token.created_seconds

    def _token_changed(self, key: Key) -> None:
        token = self._tokens.get(key)
        before = self._policies.get(key)
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

    def _emit_of_users(self, signal: ChangeSignal, quota: Key) -> None:
        for token in self._quota_users.of(quota):
            signal.emit(token)

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
