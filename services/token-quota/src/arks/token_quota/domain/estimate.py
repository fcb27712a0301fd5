"""Estimates the reservation of a request from its size, max_tokens and n only.

Prompt: a quarter of the body's bytes, rounded up, at least 1. Byte-level vocabularies never make more tokens than
bytes, so a prompt costs at most four times its estimate (plus what the chat template adds); texts in Latin letters
stay below it.

Completion: `max_tokens * n` when the client sends max_tokens, which must fit into every limit entirely. Otherwise
`default * n`, or the remaining room if that is less, but at least 1 for each of the n answers, so that small limits
remain usable. n counts all answers that the engine makes: `n` or `best_of`, times the prompts of a list.

Overrun: usage is settled after the answer, so limits on tokens are exceeded by what was not reserved. A request with
`max_tokens` exceeds them by its prompt's underestimate only; a request without by at most the model's context length
for each of its n answers. The total is that, times the requests in flight when the limit is reached. Request limits
are never exceeded.
"""

from arks.token_quota.domain.count import MAX_COUNT
from arks.token_quota.domain.reservation import ReservationRequest

BYTES_PER_TOKEN = 4
EMBEDDINGS = "embeddings"


def estimate(
    body_bytes: int, max_tokens: int | None, n: int | None, operation: str, default_completion_tokens: int
) -> ReservationRequest:
    """The tokens to reserve for a request."""
    prompt = max(1, -(-body_bytes // BYTES_PER_TOKEN))
    answers = n or 1
    if operation == EMBEDDINGS:
        return ReservationRequest(prompt, 0, exact=True, min_completion_tokens=0)
    if max_tokens is not None:
        return ReservationRequest(prompt, min(max_tokens * answers, MAX_COUNT), exact=True)
    completion = min(default_completion_tokens * answers, MAX_COUNT)
    return ReservationRequest(prompt, completion, exact=False, min_completion_tokens=min(answers, completion))
