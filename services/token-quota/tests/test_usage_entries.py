"""From lines of Envoy's usage log to entries of the ledger: golden/usage/<case>.in.txt and .out.yaml.

The case names are the requirements. An input line `reservation expired` (tab) start (tab) operation (tab) grant (tab)
request id stands for a sweep that finds this reservation without usage. REWRITE_GOLDEN=1 writes the outputs.
"""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from arks.kit.testing.golden import assert_golden, cases
from arks.token_quota.adapters.ledger import SqlLedger
from arks.token_quota.domain.charge import LineError, usage_record
from arks.token_quota.domain.grant import parse_grant
from arks.token_quota.domain.posting import Entry
from arks.token_quota.domain.reservation import Reservation
from arks.token_quota.domain.time import Moment
from arks.token_quota.domain.usage import Usage
from arks.token_quota.domain.wire import decode, encode
from arks.token_quota.testing.fakes import Harness, quota, token

GOLDEN = Path(__file__).parent / "golden" / "usage"
EXPIRED = "reservation expired"


@pytest.mark.parametrize("case", cases(GOLDEN, ".in.txt"))
async def test_usage_lines_become_the_reviewed_entries(
    case: str, harness: Harness, ledger: SqlLedger, noon: Moment
) -> None:
    harness.add(quota("monthly"), token(qos=[{"arksEndpoint": {"name": "qwen"}, "quota": {"name": "monthly"}}]))
    entries: list[Entry] = []
    bad_columns: list[str] = []
    for line in (GOLDEN / f"{case}.in.txt").read_text().splitlines():
        try:
            usage = charge_of_expired(line) if line.startswith(EXPIRED) else decode(encode(usage_record(line)))
        except LineError as error:
            bad_columns.append(str(error))
        else:
            entries += await ledger.post([with_quota(harness, usage)], noon)
    found = {"entries": [entry_fields(entry) for entry in entries], "bad_columns": bad_columns}
    assert_golden(GOLDEN / f"{case}.out.yaml", yaml.safe_dump(found, sort_keys=False, width=120))


def charge_of_expired(line: str) -> Usage:
    _, start, operation, grant_text, request_id = line.split("\t")
    grant = parse_grant(grant_text)
    assert grant is not None
    return Reservation(
        request_id=request_id,
        namespace=grant.namespace,
        token=grant.token,
        endpoint=grant.endpoint,
        operation=operation,
        quota="monthly",
        started_at_milliseconds=int(float(start) * 1000),
        prompt_tokens=grant.prompt_tokens,
        completion_tokens=grant.completion_tokens,
    ).charge()


def with_quota(harness: Harness, usage: Usage) -> Usage:
    return replace(usage, quota=harness.index.quota_of(usage.namespace, usage.token, usage.endpoint))


def entry_fields(entry: Entry) -> dict[str, Any]:
    """The entry's own numbers, then the usage that it is made from."""
    return {
        "requests": entry.requests,
        "prompt_tokens": entry.prompt_tokens,
        "completion_tokens": entry.completion_tokens,
        "revision": entry.revision,
        "replaces": entry.replaces.source.name if entry.replaces is not None else None,
        "usage": asdict(entry.usage) | {"source": entry.usage.source.name},
    }
