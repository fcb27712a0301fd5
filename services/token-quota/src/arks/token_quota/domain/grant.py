"""The grant: the answer of admission that lets a request pass, and the text that carries it through Envoy's log."""

from typing import Final, NamedTuple

from arks.token_quota.domain.count import parse_count

_PARTS: Final = 6


class Grant(NamedTuple):
    """Written as `<namespace>/<endpoint>/<token>/<lease>/<reserved prompt tokens>/<reserved completion tokens>`."""

    namespace: str
    endpoint: str
    token: str
    lease: str
    prompt_tokens: int
    completion_tokens: int

    def __str__(self) -> str:
        names = f"{self.namespace}/{self.endpoint}/{self.token}"
        return f"{names}/{self.lease}/{self.prompt_tokens}/{self.completion_tokens}"


def parse_grant(text: str) -> Grant | None:
    """The grant that `text` is, or None if it is not one."""
    parts = text.split("/")
    if len(parts) != _PARTS or not all(parts[:4]):
        return None
    prompt, completion = parse_count(parts[4]), parse_count(parts[5])
    if prompt is None or completion is None:
        return None
    return Grant(parts[0], parts[1], parts[2], parts[3], prompt, completion)
