"""gRPC must leave forks alone: these tests start servers from a process in which a gRPC server runs."""

import os

os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"

import pytest

from arks.endpoint_router.testing.harness import Setup
from arks.events.v1.facts_pb2 import REPLICA_STATE_READY
from arks.kit.testing.clock import FakeClock


@pytest.fixture
def setup(clock: FakeClock) -> Setup:
    return Setup(clock)


@pytest.fixture
def serving(setup: Setup) -> Setup:
    """An endpoint with two ready replicas, under way."""
    setup.apply()
    setup.report(states=[REPLICA_STATE_READY, REPLICA_STATE_READY])
    setup.router.begin()
    return setup
