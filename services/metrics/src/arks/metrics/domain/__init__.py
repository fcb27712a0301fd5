"""From metrics pages to load reports: pure, no clock, no I/O.

`page` reads Prometheus text, `engines` knows which names mean what, `rates` makes speeds of counters,
`replicas` makes a replica's entry of a load report, `idle` decides how often an idle application is read.
"""
