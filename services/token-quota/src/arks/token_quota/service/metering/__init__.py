"""Metering: usage batches into the ledger (`ingest`), its changes into the counters (`projector`), requests without
usage into charges (`sweeper`), old rows out of the ledger (`pruner`).

The ledger is written first and is never wrong; the counters follow it. Each namespace's counters hold how far they have
come (their cursor), so that a killed service, a Redis that was away, and several replicas at once neither lose a change
nor apply it twice.
"""
