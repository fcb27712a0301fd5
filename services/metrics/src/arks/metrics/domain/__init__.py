"""What a page says and what follows from it: pure, no clock, no I/O.

`page` reads Prometheus text, `engines` knows which names mean what, `rates` makes speeds of counters, `readings`
decides what is said of a replica and when it is asked again.
"""
