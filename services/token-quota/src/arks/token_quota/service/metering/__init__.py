"""Metering: usage records into the ledger (`ingest`), its entries into the counters (`projector`), reservations without
usage into charges (`sweeper`), old entries out of the ledger (`pruner`).

The ledger is written first and is never wrong; the counters follow it. Each namespace's counters hold how far they have
come (their cursor), so that a killed service, a Redis that was away, and several replicas at once neither lose an
entry nor apply it twice.
"""
