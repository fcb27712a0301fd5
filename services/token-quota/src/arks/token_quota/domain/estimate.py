"""What a request reserves before anything of it is known but its size and its wishes.

Prompt: a quarter of the body's bytes, rounded up, at least 1. Byte-level vocabularies never make more tokens than
bytes, so a prompt can cost at most four times its estimate (plus what the chat template adds); texts in Latin letters
stay below it.

Completion: `max_tokens * n` when the client says so, which must fit into every limit entirely. Otherwise `default *
n`, or what is left if that is less, but at least 1 for each of the n answers, so that small limits remain usable.

Overrun: usage is settled after the answer, so limits on tokens can be passed by what was not reserved. A request with
`max_tokens` passes them by its prompt's underestimate only; one without by at most the model's context length for
each of its n answers. All together: requests under way at the moment when the limit is reached, times that. Limits on
requests are never passed.
"""

from arks.token_quota.domain.limits import Ask

BYTES_PER_TOKEN = 4
MAX_COUNT = 2**31 - 1
"""Numbers above this are a mistake, not a wish."""

EMBEDDINGS = "embeddings"


def estimate(
    body_bytes: int, max_tokens: int | None, n: int | None, operation: str, default_completion_tokens: int
) -> Ask:
    """The reservation that a request asks for."""
    prompt = max(1, -(-body_bytes // BYTES_PER_TOKEN))
    answers = n or 1
    if operation == EMBEDDINGS:
        return Ask(prompt, 0, exact=True, least_completion_tokens=0)
    if max_tokens is not None:
        return Ask(prompt, min(max_tokens * answers, MAX_COUNT), exact=True)
    wanted = min(default_completion_tokens * answers, MAX_COUNT)
    return Ask(prompt, wanted, exact=False, least_completion_tokens=min(answers, wanted))
