"""Counter changes: what a usage batch changes in the counters of its namespace, summed by lease."""

import msgspec


class LeaseChange(msgspec.Struct, array_like=True):
    """Requests of one lease, token, endpoint and start minute. Written as a JSON array, in this order, for the script
    `apply.lua`.

    `requests` have ended: they had reserved `reserved_prompt_tokens` and `reserved_completion_tokens` of the lease,
    and are charged `prompt_tokens` and `completion_tokens`. The `unused_*` amounts return because the lease is closed.
    A correction has 0 requests and may be negative.
    """

    lease: str
    """Empty: the request was admitted without counters."""
    token: str
    endpoint: str
    quota: str
    """Name of the budget; empty for none."""
    minute: int
    """UTC minute since 1970-01-01 in which the requests started. Used if the counters do not know the lease."""
    requests: int = 0
    reserved_prompt_tokens: int = 0
    reserved_completion_tokens: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    closed: bool = False
    unused_requests: int = 0
    unused_prompt_tokens: int = 0
    unused_completion_tokens: int = 0


class LedgerChange(msgspec.Struct):
    """All changes of one batch, in the order of the ledger."""

    seq: int
    """Rises with every commit."""
    previous_seq: int
    """Of the namespace's change before it; 0 for the first. Larger than the reader's cursor: changes in between are
    deleted.
    """
    gateway: str
    """Empty for a change that no gateway reported."""
    complete_until_milliseconds: int
    changes: list[LeaseChange]
