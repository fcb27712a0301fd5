"""Outbound: directories and download processes of one machine, the bus, Prometheus."""
