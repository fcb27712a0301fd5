"""Tables of the ledger. A change here needs a migration (`migrations/versions`); a test holds the two together."""

from sqlalchemy import BigInteger, Index, Table, UniqueConstraint
from sqlmodel import Field, SQLModel


class UsageEntry(SQLModel, table=True):
    """One entry: added, never edited. `revision` 1 corrects a reservation that had become a charge."""

    __tablename__ = "usage_entries"
    __table_args__ = (UniqueConstraint("request_id", "revision"),)
    """A safety net: batches are applied once by their id. An index that begins with a token has a page for each, which
    a batch of many tokens would write anew: two thirds of an entry's cost. So windows are summed in `usage_days`.
    """

    seq: int = Field(primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False})
    """Rises with every commit: taken from `ledger_clock` under its row lock, so no smaller one appears later."""
    request_id: str
    revision: int
    namespace: str
    token: str
    endpoint: str
    quota: str
    operation: str
    source: int
    started_at_milliseconds: int = Field(sa_type=BigInteger)
    duration_milliseconds: int = Field(sa_type=BigInteger)
    first_byte_milliseconds: int = Field(sa_type=BigInteger)
    status_code: int
    response_flags: str
    stream: bool
    replica: str
    requests: int
    prompt_tokens: int = Field(sa_type=BigInteger)
    completion_tokens: int = Field(sa_type=BigInteger)
    recorded_at_milliseconds: int = Field(sa_type=BigInteger)


class UsageDay(SQLModel, table=True):
    """Sums of entries, kept in the same transaction: what budgets and reports read, however many entries there are."""

    __tablename__ = "usage_days"
    __table_args__ = (Index("ix_usage_days_quota", "namespace", "quota", "day"),)

    namespace: str = Field(primary_key=True)
    token: str = Field(primary_key=True)
    endpoint: str = Field(primary_key=True)
    quota: str = Field(primary_key=True)
    source: int = Field(primary_key=True)
    day: int = Field(primary_key=True)
    requests: int = Field(sa_type=BigInteger)
    prompt_tokens: int = Field(sa_type=BigInteger)
    completion_tokens: int = Field(sa_type=BigInteger)
    last_seq: int = Field(sa_type=BigInteger)
    minute: int = Field(sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})
    """The newest minute in which its requests started, since 1970-01-01 (UTC): counters need the present one only."""
    minute_requests: int = Field(sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})
    minute_tokens: int = Field(sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})


class UsageBatchId(SQLModel, table=True):
    """A batch that is in the ledger."""

    __tablename__ = "usage_batches"
    __table_args__ = (Index("ix_usage_batches_recorded", "recorded_at_milliseconds"),)

    id: str = Field(primary_key=True)
    recorded_at_milliseconds: int = Field(sa_type=BigInteger)


class UsageChange(SQLModel, table=True):
    """What one batch changes in the counters of its namespace."""

    __tablename__ = "usage_changes"
    __table_args__ = (
        Index("ix_usage_changes_namespace_seq", "namespace", "seq"),
        Index("ix_usage_changes_recorded", "recorded_at_milliseconds"),
    )

    seq: int = Field(primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False})
    namespace: str
    previous_seq: int = Field(sa_type=BigInteger)
    gateway: str
    complete_until_milliseconds: int = Field(sa_type=BigInteger)
    changes: str
    """JSON of a list of LeaseChange."""
    recorded_at_milliseconds: int = Field(sa_type=BigInteger)


class OpenRequestRow(SQLModel, table=True):
    """A request that was in flight when its lease was closed, until its end is known."""

    __tablename__ = "usage_open"
    __table_args__ = (Index("ix_usage_open_started", "charged", "started_at_milliseconds"),)

    request_id: str = Field(primary_key=True)
    namespace: str
    token: str
    endpoint: str
    operation: str
    lease: str
    started_at_milliseconds: int = Field(sa_type=BigInteger)
    reserved_prompt_tokens: int = Field(sa_type=BigInteger)
    reserved_completion_tokens: int = Field(sa_type=BigInteger)
    charged: bool
    """Its reservation is charged; a true record will correct that."""


class LedgerClock(SQLModel, table=True):
    """One row: the sequence number given last. Its row lock puts writers in order."""

    __tablename__ = "ledger_clock"

    id: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    seq: int = Field(sa_type=BigInteger)


class QuotaReset(SQLModel, table=True):
    """The newest reset of a budget, and what had been used until then."""

    __tablename__ = "quota_resets"

    namespace: str = Field(primary_key=True)
    quota: str = Field(primary_key=True)
    generation: int = Field(sa_type=BigInteger)
    reset_at_milliseconds: int = Field(sa_type=BigInteger)
    prompt_tokens: int = Field(sa_type=BigInteger)
    completion_tokens: int = Field(sa_type=BigInteger)


class KeyOwnerRow(SQLModel, table=True):
    """The namespace that a key belongs to; the key itself is not stored."""

    __tablename__ = "key_owners"

    key_hash: bytes = Field(primary_key=True)
    namespace: str
    released_at_milliseconds: int | None = Field(default=None, sa_type=BigInteger)
    """Since when no token of the namespace claims it."""


def table(model: type[SQLModel]) -> Table:
    """The table behind a model, for statements."""
    return model.metadata.tables[str(model.__tablename__)]


ENTRIES, DAYS, CLOCK, RESETS = table(UsageEntry), table(UsageDay), table(LedgerClock), table(QuotaReset)
BATCHES, CHANGES, OPEN = table(UsageBatchId), table(UsageChange), table(OpenRequestRow)
KEY_OWNERS = table(KeyOwnerRow)
