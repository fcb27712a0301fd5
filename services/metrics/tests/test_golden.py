"""From metrics pages of real engines and versions to load reports: golden/<case>.in.txt and .out.yaml.

A case's name starts with the runtime. REWRITE_GOLDEN=1 writes the outputs again.
"""

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf.json_format import MessageToDict

from arks.kit.key import Key
from arks.kit.testing.golden import assert_golden, cases
from arks.metrics.adapters.reports import load_report
from arks.metrics.domain.engines import Snapshot, missing, reader_of
from arks.metrics.domain.rates import History, Windows, observe, rates
from arks.metrics.domain.replicas import Reading, Replica, ReplicaReport

NOW = datetime(2026, 1, 1, tzinfo=UTC)
REPLICA = Replica("app-0", "127.0.0.1", 8000, slots=4)
GOLDEN = Path(__file__).parent / "golden"


def report_after_two_readings(snapshot: Snapshot, version: str) -> dict[str, Any]:
    """The load report when the same page was read twice, 10 s apart: rates of counters that the page has are 0."""
    history = observe(observe(History(), snapshot, 0.0, Windows()), snapshot, 10.0, Windows())
    reading = None if snapshot.problem else Reading(snapshot, rates(history), NOW, 0.001)
    lacks = () if snapshot.problem else missing(snapshot)
    replica = ReplicaReport(reading, snapshot.problem, version=version, missing=lacks)
    report = load_report(Key("team", "app"), {REPLICA: replica}, NOW)
    return MessageToDict(report, preserving_proto_field_name=True)


@pytest.mark.parametrize("case", cases(GOLDEN, ".in.txt"))
def test_a_page_gives_this_load_report(case: str) -> None:
    reader = reader_of(case.partition("-")[0])
    assert reader is not None
    page = (GOLDEN / f"{case}.in.txt").read_bytes()
    snapshot = reader.read(page)
    actual = {"snapshot": asdict(snapshot), "report": report_after_two_readings(snapshot, reader.version(page))}
    assert_golden(GOLDEN / f"{case}.out.yaml", yaml.safe_dump(actual, sort_keys=False))
