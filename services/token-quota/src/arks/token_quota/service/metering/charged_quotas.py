"""Which budget the requests of each token are charged to, in memory, current within a watch's delay."""

from arks.kit.cache import Cache
from arks.kit.key import Key
from arks.token_quota.domain.access import Policy

_MAX_FORMER = 10_000
"""Of deleted tokens and withdrawn permissions: their last requests are still to be charged."""


class ChargedQuotas:
    def __init__(self, tokens: Cache[Policy]) -> None:
        self._tokens = tokens
        self._policies: dict[Key, Policy] = {}
        self._former: dict[tuple[str, str, str], str] = {}
        tokens.subscribe(self._token_changed)

    def of(self, namespace: str, token: str, endpoint: str) -> str:
        """Name of the budget that this token's requests to this endpoint are charged to; empty for none."""
        policy = self._policies.get(Key(namespace, token))
        permission = policy.permissions.get(endpoint) if policy is not None else None
        if permission is not None:
            return permission.quota or ""
        return self._former.get((namespace, token, endpoint), "")

    def namespaces(self) -> set[str]:
        """Those with tokens."""
        return {key.namespace for key in self._policies}

    def _token_changed(self, key: Key) -> None:
        before, after = self._policies.pop(key, None), self._tokens.get(key)
        if before is not None:
            self._keep_quotas(before)
        if after is not None:
            self._policies[key] = after

    def _keep_quotas(self, policy: Policy) -> None:
        """Requests in flight are still charged to the quotas of a permission that is withdrawn."""
        for endpoint, permission in policy.permissions.items():
            user = (policy.namespace, policy.name, endpoint)
            self._former.pop(user, None)
            if permission.quota:
                self._former[user] = permission.quota
        while len(self._former) > _MAX_FORMER:
            self._former.pop(next(iter(self._former)))
