"""Adapters for a cluster."""
