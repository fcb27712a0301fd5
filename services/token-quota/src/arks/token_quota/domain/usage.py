"""Usage: what one finished request used, as the ledger takes it."""

from dataclasses import dataclass

from arks.contracts.usage import UsageSource


@dataclass(frozen=True, slots=True)
class Usage:
    request_id: str
    namespace: str
    token: str
    endpoint: str
    quota: str
    """The budget that it is charged to; empty for none."""
    operation: str
    source: UsageSource
    started_at_milliseconds: int
    prompt_tokens: int
    completion_tokens: int
    duration_milliseconds: int = 0
    first_byte_milliseconds: int = 0
    status_code: int = 0
    response_flags: str = ""
    stream: bool = False
    replica: str = ""
