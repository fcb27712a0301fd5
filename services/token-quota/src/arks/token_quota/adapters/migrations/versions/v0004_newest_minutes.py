"""Sums of the newest minute beside those of the day, instead of an index of entries by token and start."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_COLUMNS = ("minute", "minute_requests", "minute_tokens")
_NEWEST = """
    SELECT namespace, token, endpoint, quota, source, started_at_milliseconds / 60000 AS minute,
        sum(requests) AS requests, sum(prompt_tokens + completion_tokens) AS tokens
    FROM (SELECT * FROM usage_entries ORDER BY seq DESC LIMIT 200000) AS entries
    GROUP BY namespace, token, endpoint, quota, source, started_at_milliseconds / 60000
    ORDER BY minute
"""
"""A minute of 3,300 requests a second. The last row of a daily sum is that of its newest minute."""
_SET = """
    UPDATE usage_days SET minute = :minute, minute_requests = :requests, minute_tokens = :tokens
    WHERE namespace = :namespace AND token = :token AND endpoint = :endpoint AND quota = :quota AND source = :source
        AND day = :minute / 1440
"""


def upgrade() -> None:
    for name in _COLUMNS:
        op.add_column("usage_days", sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))
    connection = op.get_bind()
    for row in connection.execute(sa.text(_NEWEST)).mappings().all():
        values = {**row, "requests": int(row["requests"]), "tokens": int(row["tokens"])}
        connection.execute(sa.text(_SET), values)
    op.drop_index("ix_usage_entries_started", "usage_entries")


def downgrade() -> None:
    op.create_index(
        "ix_usage_entries_started", "usage_entries", ["namespace", "token", "endpoint", "started_at_milliseconds"]
    )
    for name in _COLUMNS:
        op.drop_column("usage_days", name)
