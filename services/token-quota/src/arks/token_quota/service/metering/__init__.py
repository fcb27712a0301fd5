"""From usage records to ledger, counters and charges."""
