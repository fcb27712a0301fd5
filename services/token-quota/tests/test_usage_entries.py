"""From lines of Envoy's usage log to entries of the ledger: golden/usage/<case>.in.txt and .out.yaml.

The case names are the requirements. Each line passes as in production: lease book, batch, message, ledger. An input
line `reservation expired` (tab) start (tab) operation (tab) grant (tab) request id stands for a request that was
reported as started and that a sweep finds without usage. REWRITE_GOLDEN=1 writes the outputs.
"""

from pathlib import Path
from typing import Any

import pytest
import yaml

from arks.kit.testing.golden import assert_golden, cases
from arks.token_quota.adapters.ledger import SqlLedger
from arks.token_quota.domain.batch import StartedRequest, UsageBatch
from arks.token_quota.domain.grant import parse_grant
from arks.token_quota.domain.lease_book import LeaseBook
from arks.token_quota.domain.line_reader import ENDS
from arks.token_quota.domain.lines import LineError
from arks.token_quota.domain.posting import Entry
from arks.token_quota.domain.time import Moment
from arks.token_quota.domain.wire import decode, encode
from arks.token_quota.service.metering.sweeper import charges
from arks.token_quota.testing.fakes import Harness, quota, token
from arks.token_quota.testing.usage import batch

GOLDEN = Path(__file__).parent / "golden" / "usage"
EXPIRED = "reservation expired"


@pytest.mark.parametrize("case", cases(GOLDEN, ".in.txt"))
async def test_usage_lines_become_the_reviewed_entries(
    case: str, harness: Harness, ledger: SqlLedger, noon: Moment
) -> None:
    harness.add(quota("monthly"), token(qos=[{"arksEndpoint": {"name": "qwen"}, "quota": {"name": "monthly"}}]))
    book = LeaseBook()
    entries: list[dict[str, Any]] = []
    bad_columns: list[str] = []

    async def post(batch: UsageBatch) -> None:
        postings = await ledger.post([decode(encode(batch))], harness.charged_quotas.of, noon)
        entries.extend(entry_fields(batch.namespace, entry) for posting in postings for entry in posting.entries)

    for number, line in enumerate((GOLDEN / f"{case}.in.txt").read_text().splitlines()):
        if line.startswith(EXPIRED):
            await post(started(line))
            (expired,) = await ledger.expired_requests(noon.milliseconds + 10**9, 10)
            await post(charges(expired.namespace, [expired]))
            continue
        try:
            book.add_end(ENDS.read_one(line.encode()))
        except LineError as error:
            bad_columns.append(str(error))
        for made in book.batches(f"shipper-{number}", "gw", 0):
            await post(made)
    found = {"entries": entries, "bad_columns": bad_columns}
    assert_golden(GOLDEN / f"{case}.out.yaml", yaml.safe_dump(found, sort_keys=False, width=120))


def started(line: str) -> UsageBatch:
    _, start, operation, grant_text, request_id = line.split("\t")
    grant = parse_grant(grant_text)
    assert grant is not None
    request = StartedRequest(
        request_id=request_id,
        token=grant.token,
        endpoint=grant.endpoint,
        operation=operation,
        lease=grant.lease,
        started_at_milliseconds=int(float(start) * 1000),
        reserved_prompt_tokens=grant.prompt_tokens,
        reserved_completion_tokens=grant.completion_tokens,
    )
    return batch(namespace=grant.namespace, started=[request])


def entry_fields(namespace: str, entry: Entry) -> dict[str, Any]:
    """The entry's own numbers, then the usage that it is made from."""
    record = entry.record
    return {
        "requests": entry.requests,
        "prompt_tokens": entry.prompt_tokens,
        "completion_tokens": entry.completion_tokens,
        "revision": entry.revision,
        "replaces": entry.replaces.source.name if entry.replaces is not None else None,
        "usage": {
            "request_id": record.request_id,
            "namespace": namespace,
            "token": record.token,
            "endpoint": record.endpoint,
            "quota": entry.quota,
            "operation": record.operation,
            "source": entry.source.name,
            "started_at_milliseconds": record.started_at_milliseconds,
            "prompt_tokens": record.prompt_tokens,
            "completion_tokens": record.completion_tokens,
            "duration_milliseconds": record.duration_milliseconds,
            "first_byte_milliseconds": record.first_byte_milliseconds,
            "status_code": record.status_code,
            "response_flags": record.response_flags,
            "stream": record.stream,
            "replica": record.replica,
        },
    }
