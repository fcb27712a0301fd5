"""Fixtures. gRPC's fork support is off, because tests start servers from a process in which a gRPC server runs."""

import os

os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"

import pytest

from arks.contracts.facts import ReplicaState
from arks.endpoint_router.testing.harness import RouterHarness
from arks.kit.testing.clock import FakeClock


@pytest.fixture
def harness(clock: FakeClock) -> RouterHarness:
    return RouterHarness(clock)


@pytest.fixture
def serving(harness: RouterHarness) -> RouterHarness:
    """Return a started router with one endpoint and two ready replicas."""
    harness.apply()
    harness.write_fact(states=[ReplicaState.READY, ReplicaState.READY])
    harness.router.start()
    return harness
