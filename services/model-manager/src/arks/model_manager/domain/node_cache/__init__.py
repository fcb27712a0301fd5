"""Copies of models on the disks of nodes. Pure."""
