"""Estimates the reservation of a request from its bytes of text, max_tokens and n only.

Prompt: a quarter of its bytes of text, rounded up, at least 1. The gateway's filter counts these (`text.rs`): without
schemas and grammars, and pictures, audio and video by a bound of their own. Byte-level vocabularies never make more
tokens than bytes, so text costs at most four times its estimate (plus what the chat template adds); texts in Latin
letters stay below it. An estimate is no reason to never admit a request: it is at most what each limit has room for
while nothing else uses it.

Completion: `max_tokens * n` when the client sends max_tokens, which must fit into every limit entirely. Otherwise
`default * n`, or the remaining room if that is less, but at least 1 for each of the n answers, so that small limits
remain usable. n counts all answers that the engine makes: `n` or `best_of`, times the prompts of a list.

Overrun: usage is settled after the answer, so limits on tokens are exceeded by what was not reserved. A request with
`max_tokens` exceeds them by its prompt's underestimate only; a request without by at most the model's context length
for each of its n answers. The total is that, times the requests in flight when the limit is reached. Request limits
are never exceeded.
"""

from arks.token_quota.domain.count import MAX_COUNT
from arks.token_quota.domain.limits import Budget, Rates
from arks.token_quota.domain.reservation import ReservationRequest

BYTES_PER_TOKEN = 4
EMBEDDINGS = "embeddings"


def estimate(
    text_bytes: int, max_tokens: int | None, n: int | None, operation: str, default_completion_tokens: int
) -> ReservationRequest:
    """The tokens to reserve for a request."""
    prompt = max(1, -(-text_bytes // BYTES_PER_TOKEN))
    answers = n or 1
    if operation == EMBEDDINGS:
        return ReservationRequest(prompt, 0, exact=True, min_completion_tokens=0)
    if max_tokens is not None:
        return ReservationRequest(prompt, min(max_tokens * answers, MAX_COUNT), exact=True)
    completion = min(default_completion_tokens * answers, MAX_COUNT)
    return ReservationRequest(prompt, completion, exact=False, min_completion_tokens=min(answers, completion))


def shrink_prompt(tokens: ReservationRequest, rates: Rates, budget: Budget | None) -> ReservationRequest:
    """The same, with a prompt of at most what every limit holds besides the completion, but at least 1 token."""
    completion = tokens.needed_completion_tokens
    limits = (rates.tpm, rates.tpd, None if budget is None else budget.total)
    rooms = [limit - completion for limit in limits if limit is not None]
    if budget is not None and budget.prompt is not None:
        rooms.append(budget.prompt)
    most = max(1, min(rooms, default=tokens.prompt_tokens))
    return tokens if tokens.prompt_tokens <= most else tokens._replace(prompt_tokens=most)
