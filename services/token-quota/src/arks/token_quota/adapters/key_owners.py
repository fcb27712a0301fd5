"""Owners of keys, in the ledger's database."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from arks.token_quota.adapters.database import Database
from arks.token_quota.adapters.ledger_writes import insert
from arks.token_quota.adapters.tables import KEY_OWNERS
from arks.token_quota.domain.key_holders import KeyOwner


class SqlKeyOwners:
    """Implements `KeyOwnerStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def key_owners(self) -> list[KeyOwner]:
        return await self._database.read(_all)

    async def record_key_owners(self, rows: Sequence[KeyOwner]) -> list[KeyOwner]:
        keys = [row.key_hash for row in rows]

        def work(connection: sa.Connection) -> list[KeyOwner]:
            # In the order of the keys: two replicas that write the same rows do not wait for each other in a circle.
            values = [row._asdict() for row in sorted(rows)]
            connection.execute(self._upsert(), values)
            return _read(connection, KEY_OWNERS.c.key_hash.in_(keys))

        return await self._database.write(work) if rows else []

    async def forget_key_owners(self, rows: Sequence[KeyOwner]) -> None:
        o = KEY_OWNERS.c
        statement = sa.delete(KEY_OWNERS).where(
            o.key_hash == sa.bindparam("key"),
            o.namespace == sa.bindparam("owner"),
            o.released_at_milliseconds <= sa.bindparam("released"),
        )
        values = [
            {"key": row.key_hash, "owner": row.namespace, "released": row.released_at_milliseconds}
            for row in sorted(rows)
        ]

        def work(connection: sa.Connection) -> None:
            connection.execute(statement, values)

        if values:
            await self._database.write(work)

    def _upsert(self) -> Any:
        statement = insert(KEY_OWNERS, sqlite=self._database.sqlite)
        return statement.on_conflict_do_update(
            index_elements=["key_hash"],
            set_={"released_at_milliseconds": statement.excluded.released_at_milliseconds},
            where=KEY_OWNERS.c.namespace == statement.excluded.namespace,
        )


def _all(connection: sa.Connection) -> list[KeyOwner]:
    return _read(connection, sa.true())


def _read(connection: sa.Connection, where: sa.ColumnElement[bool]) -> list[KeyOwner]:
    o = KEY_OWNERS.c
    found = connection.execute(sa.select(o.key_hash, o.namespace, o.released_at_milliseconds).where(where))
    return [KeyOwner(bytes(key_hash), namespace, released) for key_hash, namespace, released in found]
