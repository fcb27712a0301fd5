"""Which rows of the ledger are deleted when they are old. Sums by day stay."""

from collections.abc import Callable

import sqlalchemy as sa

from arks.token_quota.adapters.tables import BATCHES, CHANGES, ENTRIES, OPEN
from arks.token_quota.service.ports.ledger import PruneBefore

Prune = Callable[[sa.Connection, int], int]
"""Deletes up to so many rows. Returns how many it deleted."""


def prunes(before: PruneBefore) -> list[Prune]:
    return [
        lambda connection, limit: _entries(connection, before.entries, limit),
        lambda connection, limit: _batches(connection, before.batches, limit),
        lambda connection, limit: _changes(connection, before.changes, limit),
        lambda connection, limit: _charged(connection, before.entries, limit),
    ]


def _entries(connection: sa.Connection, before_milliseconds: int, limit: int) -> int:
    """The oldest entry alone shows whether there is anything to do."""
    e = ENTRIES.c
    first = connection.execute(sa.select(e.recorded_at_milliseconds).order_by(e.seq).limit(1)).scalar()
    if first is None or first >= before_milliseconds:
        return 0
    old = sa.select(e.seq).where(e.recorded_at_milliseconds < before_milliseconds).order_by(e.seq).limit(limit)
    return _delete(connection, sa.delete(ENTRIES).where(e.seq.in_(old)))


def _batches(connection: sa.Connection, before_milliseconds: int, limit: int) -> int:
    b = BATCHES.c
    old = sa.select(b.id).where(b.recorded_at_milliseconds < before_milliseconds).limit(limit)
    return _delete(connection, sa.delete(BATCHES).where(b.id.in_(old)))


def _changes(connection: sa.Connection, before_milliseconds: int, limit: int) -> int:
    """The newest change of each namespace stays, because the next one names it as its previous one."""
    c, newer = CHANGES.c, CHANGES.alias("newer")
    has_newer = sa.exists().where(newer.c.namespace == c.namespace, newer.c.seq > c.seq)
    old = sa.select(c.seq).where(c.recorded_at_milliseconds < before_milliseconds, has_newer).limit(limit)
    return _delete(connection, sa.delete(CHANGES).where(c.seq.in_(old)))


def _charged(connection: sa.Connection, before_milliseconds: int, limit: int) -> int:
    """Requests whose end never came: their entry is old, so nothing could correct it any more."""
    o = OPEN.c
    old = sa.select(o.request_id).where(o.charged, o.started_at_milliseconds < before_milliseconds).limit(limit)
    return _delete(connection, sa.delete(OPEN).where(o.request_id.in_(old)))


def _delete(connection: sa.Connection, statement: sa.Delete) -> int:
    return int(connection.execute(statement).rowcount)
