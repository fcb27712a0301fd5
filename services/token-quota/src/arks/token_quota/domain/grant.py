"""The grant: the answer of admission that lets a request pass, and the text that carries it through Envoy's log."""

from functools import lru_cache
from typing import Final, NamedTuple

from arks.token_quota.domain.count import parse_count

_NAMES: Final = 4
_NAMES_BEFORE_LEASES: Final = 3
MAX_NAME_LENGTH: Final = 253
"""Of Kubernetes."""


class Grant(NamedTuple):
    """Written as `<namespace>/<endpoint>/<token>/<lease>/<reserved prompt tokens>/<reserved completion tokens>`."""

    namespace: str
    endpoint: str
    token: str
    lease: str
    """`-` if the request was admitted without counters; empty in a log that an older version has written."""
    prompt_tokens: int
    completion_tokens: int

    @property
    def names(self) -> str:
        return f"{self.namespace}/{self.endpoint}/{self.token}"

    def __str__(self) -> str:
        return f"{self.names}/{self.lease}/{self.prompt_tokens}/{self.completion_tokens}"

    def before_leases(self) -> str:
        """Return the text that gateways of 0.1.0 understand: without the lease."""
        return f"{self.names}/{self.prompt_tokens}/{self.completion_tokens}"


@lru_cache(maxsize=4096)
def parse_grant(text: str) -> Grant | None:
    """The grant that `text` is, or None if it is not one. Cached: requests of a lease often reserve the same."""
    names_text, *counts = text.rsplit("/", 2)
    if len(counts) != 2:
        return None
    names, prompt, completion = parse_names(names_text), parse_count(counts[0]), parse_count(counts[1])
    if names is None or prompt is None or completion is None:
        return None
    return Grant(*names, prompt, completion)


@lru_cache(maxsize=4096)
def parse_names(text: str) -> tuple[str, str, str, str] | None:
    """Namespace, endpoint, token and lease of a grant without its amounts, or None. Cached, because the requests of a
    lease share them.
    """
    names = text.split("/")
    if not all(0 < len(name) <= MAX_NAME_LENGTH for name in names):
        return None
    if len(names) == _NAMES:
        return names[0], names[1], names[2], names[3]
    return (names[0], names[1], names[2], "") if len(names) == _NAMES_BEFORE_LEASES else None
