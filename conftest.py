"""Real servers on free ports, for every test. Tests without servers run first: their faults show at once."""

import pytest

pytest_plugins = ["arks.kit.testing.plugin"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("real") is not None)
