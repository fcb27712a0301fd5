"""A download is recorded as a span, with its bytes and its failure."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from arks.kit.testing.clock import FakeClock
from arks.kit.tracing import NoTracer, Value
from arks.model_manager.adapters.local.downloads import Downloads
from arks.model_manager.domain.failures import Failure, FailureKind


class Recorder(NoTracer):
    def __init__(self) -> None:
        self.spans: list[tuple[str, Mapping[str, Value], str | None]] = []

    def record(
        self,
        name: str,
        attributes: Mapping[str, Value],
        *,
        began_at: datetime,
        ended_at: datetime,
        failure: str | None = None,
    ) -> None:
        assert began_at <= ended_at
        self.spans.append((name, attributes, failure))


class Processes:
    """Ends at once with a result."""

    def __init__(self, failure: Failure | None) -> None:
        self._failure = failure

    async def run(self, request: Any, report: Callable[[Any], None]) -> Failure | None:
        return self._failure


@pytest.mark.parametrize("failure", [None, Failure(FailureKind.NETWORK, "the hub is away")])
async def test_a_download_is_a_span_with_the_kind_of_its_failure(failure: Failure | None, clock: FakeClock) -> None:
    tracer, processes, request = Recorder(), Processes(failure), object()
    downloads = Downloads(processes, clock, CollectorRegistry(), limit=1, tracer=tracer)  # type: ignore[arg-type]
    ended = asyncio.Event()
    downloads.changed = lambda _: ended.set()
    downloads.start("/models/a", request, "f")  # type: ignore[arg-type]
    await asyncio.wait_for(ended.wait(), 30)
    attributes = {"arks.storage_path": "/models/a", "arks.bytes": 0}
    assert [("download", attributes, "network" if failure else None)] == tracer.spans
    await downloads.close()
