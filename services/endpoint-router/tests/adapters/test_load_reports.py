"""Load reports that arrive faster than the router handles them."""

import asyncio
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter

from arks.endpoint_router.adapters import load_reports
from arks.endpoint_router.adapters.load_reports import GATHER_SECONDS, LoadInbox
from arks.endpoint_router.domain import Report
from arks.endpoint_router.service import slices
from arks.events.v1.load_pb2 import LoadReport
from arks.kit.faults import Faults
from arks.kit.testing.clock import FakeClock


def bus() -> Any:
    return SimpleNamespace(faults=Faults(Counter("faults", "", ["source"], registry=CollectorRegistry())))


def payload(application: str, seconds: int = 0) -> bytes:
    report = LoadReport(namespace="team", application=application)
    report.measured_at.seconds = seconds
    return report.SerializeToString()


async def handled(inbox: LoadInbox) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(0.02):
            await inbox.run()


async def test_only_the_newest_report_of_an_application_is_handled() -> None:
    found: list[tuple[str, float]] = []
    inbox = LoadInbox(bus(), lambda report, _: found.append((report.application, report.measured_at)), FakeClock())
    for application, seconds in (("a", 1), ("b", 2), ("a", 3)):
        inbox.put(f"arks.load.team.{application}", payload(application, seconds))
    await handled(inbox)
    assert [("a", 3), ("b", 2)] == found


async def test_of_too_many_applications_those_that_wait_still_get_newer_reports(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(load_reports, "MOST_APPLICATIONS", 1)
    found: list[tuple[str, float]] = []
    inbox = LoadInbox(bus(), lambda report, _: found.append((report.application, report.measured_at)), FakeClock())
    for application, seconds in (("a", 1), ("b", 2), ("a", 3)):
        inbox.put(f"arks.load.team.{application}", payload(application, seconds))
    await handled(inbox)
    assert [("a", 3)] == found


async def test_a_report_that_cannot_be_read_stops_no_other() -> None:
    found: list[str] = []
    inbox = LoadInbox(bus(), lambda report, _: found.append(report.application), FakeClock())
    inbox.put("arks.load.team.broken", b"\xff")
    inbox.put("arks.load.team.a", payload("a"))
    await handled(inbox)
    assert ["a"] == found


async def test_other_tasks_run_while_reports_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "SLICE_SECONDS", 0.0)
    order: list[str] = []
    begun = asyncio.Event()

    def handle(report: Report, _: float) -> None:
        order.append(report.application)
        begun.set()

    inbox = LoadInbox(bus(), handle, FakeClock())
    for number in range(3):
        inbox.put(f"arks.load.team.{number}", payload(str(number)))
    run = asyncio.create_task(inbox.run())
    await begun.wait()
    order.append("other")
    run.cancel()
    assert ["0", "other"] == order[:2]


async def test_a_report_that_comes_as_the_last_one_is_handled_waits_for_no_other() -> None:
    found: list[str] = []

    def handle(report: Report, _: float) -> None:
        found.append(report.application)
        if report.application == "a":
            asyncio.get_running_loop().call_soon(inbox.put, "arks.load.team.b", payload("b"))

    inbox = LoadInbox(bus(), handle, FakeClock())
    inbox.put("arks.load.team.a", payload("a"))
    await handled(inbox)
    assert ["a", "b"] == found


async def test_a_report_is_handled_with_the_earliest_time_at_which_it_can_have_come() -> None:
    found: list[float] = []
    clock = FakeClock()
    arrived_at = clock.monotonic() - GATHER_SECONDS
    inbox = LoadInbox(bus(), lambda _, at: found.append(at), clock)
    inbox.put("arks.load.team.a", payload("a"))
    clock.advance(0.1)
    await handled(inbox)
    assert [arrived_at] == found
