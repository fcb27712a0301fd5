"""Estimates the reservation of a request from its bytes of text, max_tokens and n only.

Prompt: its bytes of text by a ratio of bytes a token, rounded up, at least 1. The gateway's filter counts the bytes
(`text.rs`): without schemas and grammars, and pictures, audio and video by a bound of their own. It begins with a ratio
of 4 and measures it for each key and model on the answers of engines, from 1 to 8 (`ratio.rs`): at once where a token
has fewer bytes, slowly where it has more. So prompts of one kind are reserved whole after the first one of them.
Byte-level vocabularies never make more tokens than bytes, so text costs at most eight times its estimate (plus what the
chat template adds), and four times before the key had answers to text of more than 4 bytes a token. A key that changes
from thin to dense text exceeds its own limits by that, in the requests in flight until the first answer; no other key's
estimates change. An estimate is no reason to never admit a request: it is at most what each limit has room for while
nothing else uses it.

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
    text_bytes: int,
    max_tokens: int | None,
    n: int | None,
    operation: str,
    default_completion_tokens: int,
    *,
    prompt_tokens: int | None = None,
) -> ReservationRequest:
    """The tokens to reserve for a request. `prompt_tokens`: the filter's estimate; None from an older version."""
    prompt = max(1, -(-text_bytes // BYTES_PER_TOKEN) if prompt_tokens is None else prompt_tokens)
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
