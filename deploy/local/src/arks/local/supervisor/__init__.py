"""Supervision of the programs of one Arks on this machine: start, watch, restart, stop."""
