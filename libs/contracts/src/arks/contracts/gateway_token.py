"""The tokens of Arks' own interfaces: of the gateway at endpoint-router and token-quota, and of operators."""

import hmac
from dataclasses import dataclass, field

GATEWAY_TOKEN_HEADER = "x-arks-gateway-token"  # noqa: S105  # a header's name
OPERATOR_TOKEN_HEADER = "x-arks-operator-token"  # noqa: S105  # a header's name
"""Instead of `authorization`, which the API server's proxy keeps for itself."""
_ABSENT = frozenset({None, "", "-"})
"""Envoy sends `-` for an environment variable that it does not have."""


@dataclass(frozen=True, slots=True)
class TokenGate:
    """Whether a caller may use an interface."""

    token: str | None = field(default=None, repr=False)
    """None: every caller that can connect may use it."""
    required: bool = True
    """False: a caller without a token passes too, as gateways of an older version do during an upgrade."""

    def accepts(self, given: str | None) -> bool:
        if self.token is None:
            return True
        if given is None or given in _ABSENT:
            return not self.required
        return hmac.compare_digest(given.encode(), self.token.encode())


def bearer(authorization: str | None) -> str | None:
    """The token of a header `authorization: Bearer <token>`."""
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None
