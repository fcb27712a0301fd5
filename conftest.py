"""Fixtures that every test may use: real servers on free ports."""

pytest_plugins = ["arks.kit.testing.plugin"]
