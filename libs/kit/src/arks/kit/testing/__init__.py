"""Real servers on free loopback ports, and a clock that moves by command: for tests.

Load the fixtures with `pytest_plugins = ["arks.kit.testing.plugin"]` (the root conftest does).
"""
