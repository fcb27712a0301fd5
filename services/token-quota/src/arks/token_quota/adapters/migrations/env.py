"""alembic's environment: the connection is passed in by `database.migrate`, which holds the lock and commits."""

from alembic import context
from sqlmodel import SQLModel

import arks.token_quota.adapters.tables  # noqa: F401  # fills the metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    render_as_batch=True,  # SQLite cannot alter most things in place
)
with context.begin_transaction():
    context.run_migrations()
