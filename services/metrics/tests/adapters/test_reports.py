"""The message that is published."""

from datetime import UTC, datetime
from typing import cast

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from arks.contracts.load import STUCK_SECONDS
from arks.events.v1.load_pb2 import LoadReport, ReplicaLoad
from arks.kit.bus import Bus
from arks.kit.key import Key
from arks.kit.testing.clock import FakeClock
from arks.metrics.adapters.reports import NatsReports, load_report, replica_reports, subject_of
from arks.metrics.domain.engines import Snapshot
from arks.metrics.domain.gpus import GpuUse
from arks.metrics.domain.rates import Rates
from arks.metrics.domain.replicas import Reading, Replica, ReplicaReport

KEY = Key("default", "app")
NOW, BEFORE = datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)
REPLICA = Replica("app-0", "127.0.0.1", 8000, slots=4)
SIGNALS = {
    "running_requests",
    "waiting_requests",
    "kv_cache_usage_ratio",
    "prompt_tokens_per_second",
    "generation_tokens_per_second",
    "drain_rate_per_second",
}


def load_of(report: ReplicaReport, replica: Replica = REPLICA) -> ReplicaLoad:
    return load_report(KEY, {replica: report}, NOW).replicas[0]


def present(load: ReplicaLoad) -> set[str]:
    return {field.name for field, _ in load.ListFields()}


def reading(snapshot: Snapshot, rates: Rates | None = None) -> Reading:
    return Reading(snapshot, rates or Rates(), BEFORE, 0.01)


def test_a_signal_that_is_zero_is_there_and_one_that_is_missing_is_not() -> None:
    load = load_of(ReplicaReport(reading(Snapshot(0.0, None)), ""), Replica("app-0", "h", 1))
    assert {"name", "host", "port", "measured_at", "running_requests"} == present(load)
    assert load.HasField("running_requests")


def test_a_replica_with_a_problem_has_no_signals_but_when_it_was_last_read() -> None:
    load = load_of(ReplicaReport(reading(Snapshot(1.0, 2.0, 0.5), Rates(1.0, 2.0, 3.0)), "connection refused"))
    assert (set(), "connection refused") == (present(load) & SIGNALS, load.problem)
    assert BEFORE == load.measured_at.ToDatetime(UTC)


def test_everything_that_is_known_is_in_the_report() -> None:
    load = load_of(ReplicaReport(reading(Snapshot(1.0, 2.0, 0.5), Rates(3.0, 4.0, 5.0)), ""))
    assert (1.0, 2.0, 0.5, 3.0, 4.0, 5.0, 4) == (
        load.running_requests,
        load.waiting_requests,
        load.kv_cache_usage_ratio,
        load.prompt_tokens_per_second,
        load.generation_tokens_per_second,
        load.drain_rate_per_second,
        load.slots,
    )


def test_a_report_names_its_application_and_the_time_when_it_was_made() -> None:
    report = load_report(KEY, {}, NOW)
    assert ("default", "app", NOW) == (report.namespace, report.application, report.measured_at.ToDatetime(UTC))


def test_gpu_signals_are_reported_of_a_silent_engine_too() -> None:
    load = load_of(ReplicaReport(None, "no answer for 1.0 s", GpuUse(0.5, None)))
    assert (0.5, False, False) == (
        load.gpu_utilization_ratio,
        load.HasField("gpu_memory_used_bytes"),
        load.HasField("measured_at"),
    )


class FakeBus:
    def __init__(self) -> None:
        self.published: list[str] = []

    async def publish(self, subject: str, _: bytes) -> None:
        self.published.append(subject)


async def test_only_reports_with_a_stuck_replica_have_a_second_subject() -> None:
    bus = FakeBus()
    reports = NatsReports(cast("Bus", bus), FakeClock(), CollectorRegistry())
    for seconds in (STUCK_SECONDS - 1, STUCK_SECONDS):
        await reports.publish(KEY, {REPLICA: ReplicaReport(reading(Snapshot(1.0)), "", stalled_seconds=seconds)})
    assert ["arks.load.default.app", "arks.load.default.app", "arks.stuck.default.app"] == bus.published


def test_the_engines_of_a_stage_have_a_subject_of_their_own() -> None:
    assert "arks.stages.default.pd.prefill" == subject_of(Key("default", "pd/prefill"))


NUMBERS = st.none() | st.floats(0, 1e9)
READINGS = st.builds(
    Reading,
    st.builds(Snapshot, NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS),
    st.builds(Rates, NUMBERS, NUMBERS, NUMBERS),
    st.datetimes(datetime(2020, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    st.just(0.0),
)


@given(
    st.dictionaries(
        st.builds(Replica, st.text(), st.text(), st.integers(1, 65535), st.integers(0, 99), st.integers(0, 99)),
        st.builds(ReplicaReport, READINGS, st.just(""), held=st.booleans())
        | st.builds(ReplicaReport, st.none(), st.text(min_size=1)),
    )
)
def test_another_member_reads_what_was_reported(reports: dict[Replica, ReplicaReport]) -> None:
    message = LoadReport.FromString(load_report(KEY, reports, NOW).SerializeToString())
    assert reports == replica_reports(message)
