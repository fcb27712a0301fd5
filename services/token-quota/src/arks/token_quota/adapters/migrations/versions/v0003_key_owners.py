"""Which namespace each key belongs to.

Keys of existing tokens are added at the first start: each to the namespace of the oldest token that claims it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "key_owners",
        sa.Column("key_hash", sa.LargeBinary(), primary_key=True),
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("released_at_milliseconds", sa.BigInteger(), nullable=True),
    )


def downgrade() -> None:
    op.drop_table("key_owners")
