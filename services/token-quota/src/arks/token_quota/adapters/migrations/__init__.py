"""alembic migrations of the ledger, run by `database.migrate` at the start of the service."""
