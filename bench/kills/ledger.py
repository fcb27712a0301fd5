"""Reads the ledger by request."""

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from arks.contracts.usage import UsageSource
from bench.kills.compare import Charge

_ENTRIES = sa.text(
    "SELECT request_id, source, requests, prompt_tokens, completion_tokens, started_at_milliseconds,"
    " status_code FROM usage_entries ORDER BY seq"
)
_DAYS = sa.text("SELECT sum(requests), sum(prompt_tokens), sum(completion_tokens) FROM usage_days")


async def read(url: str) -> tuple[dict[str, Charge], tuple[int, int, int]]:
    """Charges by request id, and the ledger's own sums: requests, prompt tokens, completion tokens."""
    engine = create_async_engine(url)
    try:
        async with engine.connect() as connection:
            charges: dict[str, Charge] = {}
            for id_, source, *numbers in await connection.execute(_ENTRIES):
                charges[id_] = _added(charges.get(id_), Charge(UsageSource(source), *numbers))
            requests, prompt, completion = (await connection.execute(_DAYS)).one()
    finally:
        await engine.dispose()
    return charges, (int(requests), int(prompt), int(completion))


def _added(before: Charge | None, entry: Charge) -> Charge:
    if before is None:
        return entry
    return Charge(
        entry.source,
        before.requests + entry.requests,
        before.prompt_tokens + entry.prompt_tokens,
        before.completion_tokens + entry.completion_tokens,
        before.started_milliseconds,
        entry.status,
    )
