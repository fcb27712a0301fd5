"""Real servers on free loopback ports, and a clock that only moves when told: for tests.

Load the fixtures with `pytest_plugins = ["arks.kit.testing.plugin"]` (the root conftest does).
"""
