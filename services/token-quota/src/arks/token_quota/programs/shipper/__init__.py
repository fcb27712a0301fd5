"""The usage shipper: a small process beside each Envoy that publishes what its gateway wrote as usage batches.

The files are the buffer: while NATS is away, lines wait in them. `segments` are the files and how far they are read,
`state` what is kept over a restart, `ship` the loop, `publisher` NATS and Envoy's admin port; `domain/lease_book.py`
joins the lines.
"""
