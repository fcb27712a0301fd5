"""Writes what is generated from the models: `python -m tools.generate`."""
