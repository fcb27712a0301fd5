"""The outbound edge: counters in Redis, the ledger in SQL."""
