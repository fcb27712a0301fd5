"""Entries, daily sums, the ledger's clock, resets of budgets."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "usage_entries",
        sa.Column("seq", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("request_id", sa.String(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        *(
            sa.Column(name, sa.String(), nullable=False)
            for name in ("namespace", "token", "endpoint", "quota", "operation")
        ),
        sa.Column("source", sa.Integer(), nullable=False),
        *(
            sa.Column(f"{name}_milliseconds", sa.BigInteger(), nullable=False)
            for name in ("started_at", "duration", "first_byte")
        ),
        sa.Column("status_code", sa.Integer(), nullable=False),
        sa.Column("response_flags", sa.String(), nullable=False),
        sa.Column("stream", sa.Boolean(), nullable=False),
        sa.Column("replica", sa.String(), nullable=False),
        sa.Column("requests", sa.Integer(), nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=False),
        sa.Column("completion_tokens", sa.BigInteger(), nullable=False),
        sa.Column("recorded_at_milliseconds", sa.BigInteger(), nullable=False),
        sa.UniqueConstraint("request_id", "revision"),
    )
    op.create_index("ix_usage_entries_namespace_seq", "usage_entries", ["namespace", "seq"])
    op.create_index(
        "ix_usage_entries_started", "usage_entries", ["namespace", "token", "endpoint", "started_at_milliseconds"]
    )
    op.create_table(
        "usage_days",
        *(sa.Column(name, sa.String(), primary_key=True) for name in ("namespace", "token", "endpoint", "quota")),
        sa.Column("source", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("day", sa.Integer(), primary_key=True, autoincrement=False),
        *(
            sa.Column(name, sa.BigInteger(), nullable=False)
            for name in ("requests", "prompt_tokens", "completion_tokens", "last_seq")
        ),
    )
    op.create_index("ix_usage_days_quota", "usage_days", ["namespace", "quota", "day"])
    clock = op.create_table(
        "ledger_clock",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
    )
    op.bulk_insert(clock, [{"id": 1, "seq": 0}])
    op.create_table(
        "quota_resets",
        sa.Column("namespace", sa.String(), primary_key=True),
        sa.Column("quota", sa.String(), primary_key=True),
        *(
            sa.Column(name, sa.BigInteger(), nullable=False)
            for name in ("generation", "reset_at_milliseconds", "prompt_tokens", "completion_tokens")
        ),
    )


def downgrade() -> None:
    for name in ("quota_resets", "ledger_clock", "usage_days", "usage_entries"):
        op.drop_table(name)
