"""Who holds which key and what it may use: everything that admission looks up, in memory, current within a watch's
delay.

Policies, quotas and endpoints follow their caches at once. Keys follow their token's reconcile, which may have to
read a Secret. Keys themselves are not kept: only their keyed hashes are.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from arks.contracts.resources import ArksQuota, ArksToken, FailureMode, QuotaType, RateLimitType, hash_key
from arks.events.v1.facts_pb2 import EndpointFact
from arks.kit.cache import Cache
from arks.kit.reconcile import Key
from arks.token_quota.domain.access import EndpointState, KeyHolder, Leave, Policy
from arks.token_quota.domain.limits import Budget, Period, Rates

_REMEMBERED_QUOTAS = 10_000
"""Of tokens that are gone: their last requests are still to be charged."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A token says that a key, by its hash, is its own."""

    key_hash: str
    until_seconds: float | None = None


class Directory:
    def __init__(
        self, pepper: bytes, tokens: Cache[ArksToken], quotas: Cache[ArksQuota], endpoints: Cache[EndpointFact]
    ) -> None:
        self._pepper = pepper
        self._tokens = tokens
        self._quotas = quotas
        self._endpoint_facts = endpoints
        self._policies: dict[Key, Policy] = {}
        self._budgets: dict[Key, Budget] = {}
        self._endpoints: dict[Key, EndpointState] = {}
        self._claims: dict[Key, tuple[Claim, ...]] = {}
        self._claimants: dict[str, dict[Key, Claim]] = {}
        self._holders: dict[str, tuple[Key, float | None]] = {}
        self._resets: dict[Key, int] = {}
        self._charged_to: dict[tuple[str, str, str], str] = {}
        self._on_rivals: list[Callable[[Key], None]] = []
        tokens.subscribe(self._token_changed)
        quotas.subscribe(self._quota_changed)
        endpoints.subscribe(self._endpoint_changed)

    # --- asked by admission

    def holder(self, key: str) -> KeyHolder | None:
        found = self._holders.get(hash_key(self._pepper, key))
        if found is None:
            return None
        policy = self._policies.get(found[0])
        return None if policy is None else KeyHolder(policy, found[1])

    def endpoint(self, namespace: str, name: str) -> EndpointState | None:
        return self._endpoints.get(Key(namespace, name))

    def budget(self, namespace: str, quota: str) -> Budget | None:
        return self._budgets.get(Key(namespace, quota))

    def models(self, policy: Policy) -> list[str]:
        """What the key may use and what exists, sorted."""
        return sorted(name for name in policy.endpoints if Key(policy.namespace, name) in self._endpoints)

    # --- asked by metering

    def quota_of(self, namespace: str, token: str, endpoint: str) -> str:
        """Name of the budget that this token's requests to this endpoint are charged to; empty for none."""
        policy = self._policies.get(Key(namespace, token))
        leave = policy.endpoints.get(endpoint) if policy is not None else None
        if leave is not None:
            return leave.quota or ""
        return self._charged_to.get((namespace, token, endpoint), "")

    def namespaces(self) -> set[str]:
        return {key.namespace for key in self._policies}

    # --- told by reconciles

    def hash(self, key: str) -> str:
        return hash_key(self._pepper, key)

    def on_rivals(self, listener: Callable[[Key], None]) -> None:
        """`listener` is called with each token for which another one's claims changed who holds its key."""
        self._on_rivals.append(listener)

    def claim(self, token: Key, claims: Sequence[Claim]) -> None:
        """These are the token's keys now; empty when it is gone or its key cannot be read."""
        before = self._claims.pop(token, ())
        if claims:
            self._claims[token] = tuple(claims)
        for old in before:
            self._claimants.get(old.key_hash, {}).pop(token, None)
        for new in reversed(claims):  # a key that is listed twice counts as the current one
            self._claimants.setdefault(new.key_hash, {})[token] = new
        for key_hash in {claim.key_hash for claim in (*before, *claims)}:
            self._resolve(key_hash, token)

    def holds(self, token: Key, claim: Claim) -> bool:
        """Whether it is this token that the key leads to."""
        found = self._holders.get(claim.key_hash)
        return found is not None and found[0] == token

    def carried_out(self, quota: Key, generation: int) -> None:
        """A reset of this budget is in the ledger: count it apart from now on."""
        if generation > self._resets.get(quota, 0):
            self._resets[quota] = generation
            self._quota_changed(quota)

    def resets(self, quota: Key) -> int:
        return self._resets.get(quota, 0)

    # --- inside

    def _resolve(self, key_hash: str, cause: Key) -> None:
        """The oldest of the tokens that claim a key holds it: nobody takes over a key by claiming it later."""
        claimants = self._claimants.get(key_hash, {})
        before = self._holders.get(key_hash)
        if not claimants:
            self._claimants.pop(key_hash, None)
            self._holders.pop(key_hash, None)
            return
        oldest = min(claimants, key=lambda key: (self._created(key), key))
        self._holders[key_hash] = (oldest, claimants[oldest].until_seconds)
        if before is None or before[0] != oldest:
            for rival in claimants:
                if rival != cause:
                    for listener in self._on_rivals:
                        listener(rival)

    def _created(self, key: Key) -> float:
        token = self._tokens.get(key)
        created = token.metadata.creation_timestamp if token is not None else None
        return created.timestamp() if created is not None else float("inf")

    def _token_changed(self, key: Key) -> None:
        token = self._tokens.get(key)
        before = self._policies.get(key)
        if before is not None:
            self._remember_quotas(before)
        if token is None or token.metadata.deletion_timestamp is not None:
            self._policies.pop(key, None)
        else:
            self._policies[key] = policy_of(token)

    def _remember_quotas(self, policy: Policy) -> None:
        for endpoint, leave in policy.endpoints.items():
            place = (policy.namespace, policy.name, endpoint)
            self._charged_to.pop(place, None)
            if leave.quota:
                self._charged_to[place] = leave.quota
        while len(self._charged_to) > _REMEMBERED_QUOTAS:
            self._charged_to.pop(next(iter(self._charged_to)))

    def _quota_changed(self, key: Key) -> None:
        quota = self._quotas.get(key)
        if quota is None:
            self._budgets.pop(key, None)
        else:
            told = quota.status.reset_generation if quota.status is not None else None  # by another replica
            self._resets[key] = max(self._resets.get(key, 0), told or 0)
            self._budgets[key] = budget_of(quota, self._resets[key])

    def _endpoint_changed(self, key: Key) -> None:
        fact = self._endpoint_facts.get(key)
        if fact is None:
            self._endpoints.pop(key, None)
        else:
            self._endpoints[key] = EndpointState(fact.ready, "" if fact.ready else fact.message)


def policy_of(token: ArksToken) -> Policy:
    spec = token.spec
    return Policy(
        namespace=token.namespace,
        name=token.name,
        endpoints={
            qos.arks_endpoint.name: Leave(
                rates_of({limit.type: limit.value for limit in qos.rate_limits}),
                qos.quota.name if qos.quota is not None else None,
            )
            for qos in spec.qos
        },
        disabled=spec.disabled,
        expires_at_seconds=seconds_of(spec.expires_at),
        rates_fail_open=spec.failure_policy.rates is FailureMode.OPEN,
        budgets_fail_open=spec.failure_policy.budgets is FailureMode.OPEN,
    )


def rates_of(limits: Mapping[RateLimitType, int]) -> Rates:
    return Rates(
        rpm=limits.get(RateLimitType.RPM),
        rpd=limits.get(RateLimitType.RPD),
        tpm=limits.get(RateLimitType.TPM),
        tpd=limits.get(RateLimitType.TPD),
    )


def budget_of(quota: ArksQuota, generation: int) -> Budget:
    limits = {limit.quota_type: limit.value for limit in quota.spec.quotas}
    return Budget(
        quota=quota.name,
        period=Period(quota.spec.period.value),
        generation=generation,
        prompt=limits.get(QuotaType.PROMPT),
        response=limits.get(QuotaType.RESPONSE),
        total=limits.get(QuotaType.TOTAL),
    )


def seconds_of(time: datetime | None) -> float | None:
    return None if time is None else time.timestamp()
