"""Log probabilities in OpenAI's two forms: of chats, and the older one of texts."""

from collections.abc import Sequence
from typing import Any

from arks.engine.v1.ark_pb2 import TokenLogprob


def of_chat(tokens: Sequence[TokenLogprob]) -> dict[str, Any]:
    return {
        "content": [_token(token) | {"top_logprobs": [_token(other) for other in token.top]} for token in tokens],
        "refusal": None,
    }


def _token(token: TokenLogprob) -> dict[str, Any]:
    return {"token": token.token, "logprob": token.logprob, "bytes": list(token.token_bytes)}


def of_text(tokens: Sequence[TokenLogprob], offset: int = 0) -> dict[str, Any]:
    """`offset`: characters of the answer before these tokens."""
    offsets = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token.token)
    return {
        "tokens": [token.token for token in tokens],
        "token_logprobs": [token.logprob for token in tokens],
        "top_logprobs": [{other.token: other.logprob for other in token.top} for token in tokens],
        "text_offset": offsets,
    }
