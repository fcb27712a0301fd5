"""The usage shipper: a small process beside each Envoy that follows its usage log onto the usage stream.

The log is the buffer: while NATS is away, lines wait in it. `segments` are the files and how far they are read,
`ship` the loop, `edge` NATS and Envoy's admin port.
"""
