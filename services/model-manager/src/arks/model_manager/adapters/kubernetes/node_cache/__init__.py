"""Copies on nodes: agents, volumes, exports and labels in the cluster."""
