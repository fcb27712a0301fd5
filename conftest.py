"""Fixtures with real servers on free ports. Tests without servers run first, so that their faults show at once."""

import os

import hypothesis
import pytest

# Tests that serve gRPC start programs by fork and exec. gRPC's own handlers would run in the child in between, and
# abort it now and then, because its file descriptors are closed there.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"

pytest_plugins = ["arks.kit.testing.plugin"]

# Each test has its own time limit; a limit on each example would only measure how busy the machine is.
hypothesis.settings.register_profile("arks", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
# The same examples in every run, so that a failure comes from the change. `--hypothesis-profile deep` tries new ones.
hypothesis.settings.register_profile("arks-same", hypothesis.settings.get_profile("arks"), derandomize=True)
hypothesis.settings.register_profile("deep", hypothesis.settings.get_profile("arks"), max_examples=3000)
# ARKS_FUZZ new inputs, in `make fuzz`; what fails is kept in .hypothesis and tried first the next time.
FUZZED = int(os.environ.get("ARKS_FUZZ", "20000"))
hypothesis.settings.register_profile("fuzz", hypothesis.settings.get_profile("arks"), max_examples=FUZZED)
hypothesis.settings.load_profile("arks-same")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("real") is not None)
