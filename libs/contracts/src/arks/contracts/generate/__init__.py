"""Writes what is generated from the models: `python -m arks.contracts.generate`."""
