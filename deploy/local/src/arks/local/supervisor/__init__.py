"""The daemon that owns every process of one Arks on this machine: starts, watches, restarts and ends them."""
