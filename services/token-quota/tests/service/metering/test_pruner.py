from collections.abc import Awaitable, Callable

from arks.token_quota.adapters.ledger import SqlLedger
from arks.token_quota.domain.time import DAY_MILLISECONDS, Moment
from arks.token_quota.service.metering.context import MeteringContext
from arks.token_quota.service.metering.pruner import BATCHES_KEEP_DAYS, CHANGES_KEEP_DAYS, Pruner
from arks.token_quota.testing.usage import batch, record

Total = Callable[[], Awaitable[tuple[int, int, int]]]


async def post(ledger: SqlLedger, request_id: str, milliseconds: int) -> None:
    await ledger.post([batch(record(request_id), id=request_id)], lambda *_: "q", Moment(milliseconds))


async def test_entries_are_kept_for_as_many_days_as_set(
    context: MeteringContext, ledger: SqlLedger, noon: Moment, total: Total
) -> None:
    for age in (1, 0, -1):
        await post(ledger, f"r{age}", noon.milliseconds - 90 * DAY_MILLISECONDS - age)
    keep_all = Pruner(context.ledger, context.clock, keep_days=91)
    assert [3, 0] == [await keep_all.prune() for _ in range(2)]  # ids of batches
    assert [1, 0] == [await Pruner(context.ledger, context.clock, keep_days=90).prune() for _ in range(2)]
    assert (3, 30, 60) == await total()


async def test_ids_of_batches_and_changes_are_kept_for_fewer_days(
    context: MeteringContext, ledger: SqlLedger, noon: Moment, total: Total
) -> None:
    ages = {"batch": BATCHES_KEEP_DAYS, "change": CHANGES_KEEP_DAYS, "new": 0}
    for request_id, days in ages.items():
        await post(ledger, request_id, noon.milliseconds - days * DAY_MILLISECONDS - 1)
    await Pruner(context.ledger, context.clock, keep_days=90).prune()
    assert 1 == len((await ledger.changes("team", 0, 10)).changes)
    for request_id in ages:
        await ledger.post([batch(record(f"again-{request_id}"), id=request_id)], lambda *_: "q", noon)
    assert (4, 40, 80) == await total()  # one of the ids is no longer known
