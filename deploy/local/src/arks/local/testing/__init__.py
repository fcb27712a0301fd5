"""A whole Arks for tests."""
