"""Real servers on free ports, for every test. Tests without servers run first: their faults show at once."""

import hypothesis
import pytest

pytest_plugins = ["arks.kit.testing.plugin"]

# Each test has a time limit of its own; one on each example says only how busy the machine is.
hypothesis.settings.register_profile("arks", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
# Change by change the same examples, so that what fails is what has changed. `--hypothesis-profile deep` tries more.
hypothesis.settings.register_profile("arks-same", hypothesis.settings.get_profile("arks"), derandomize=True)
hypothesis.settings.register_profile("deep", hypothesis.settings.get_profile("arks"), max_examples=3000)
hypothesis.settings.load_profile("arks-same")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("real") is not None)
