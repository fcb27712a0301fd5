"""What the use cases need from outside: `counters` (Redis), `ledger` (SQL), `usage_stream` (NATS) and `metrics`, with
the plain data that they exchange.
"""
