"""Adapters for one machine."""
