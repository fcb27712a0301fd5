"""Fakes, builders and the oracle of the limits, for tests."""
