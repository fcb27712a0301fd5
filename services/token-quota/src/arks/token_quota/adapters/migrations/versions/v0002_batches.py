"""Batches, changes of the counters, requests in flight.

Entries and sums by day stay as they are. Counters of the version before count reservations by request and are made
anew from the ledger.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("ix_usage_entries_namespace_seq", "usage_entries")
    op.create_table(
        "usage_batches",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("recorded_at_milliseconds", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_usage_batches_recorded", "usage_batches", ["recorded_at_milliseconds"])
    op.create_table(
        "usage_changes",
        sa.Column("seq", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("previous_seq", sa.BigInteger(), nullable=False),
        sa.Column("gateway", sa.String(), nullable=False),
        sa.Column("complete_until_milliseconds", sa.BigInteger(), nullable=False),
        sa.Column("changes", sa.String(), nullable=False),
        sa.Column("recorded_at_milliseconds", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_usage_changes_namespace_seq", "usage_changes", ["namespace", "seq"])
    op.create_index("ix_usage_changes_recorded", "usage_changes", ["recorded_at_milliseconds"])
    op.create_table(
        "usage_open",
        sa.Column("request_id", sa.String(), primary_key=True),
        *(
            sa.Column(name, sa.String(), nullable=False)
            for name in ("namespace", "token", "endpoint", "operation", "lease")
        ),
        sa.Column("started_at_milliseconds", sa.BigInteger(), nullable=False),
        sa.Column("reserved_prompt_tokens", sa.BigInteger(), nullable=False),
        sa.Column("reserved_completion_tokens", sa.BigInteger(), nullable=False),
        sa.Column("charged", sa.Boolean(), nullable=False),
    )
    op.create_index("ix_usage_open_started", "usage_open", ["charged", "started_at_milliseconds"])


def downgrade() -> None:
    for name in ("usage_open", "usage_changes", "usage_batches"):
        op.drop_table(name)
    op.create_index("ix_usage_entries_namespace_seq", "usage_entries", ["namespace", "seq"])
