"""The output of commands, compared with golden files; REWRITE_GOLDEN=1 rewrites them."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from arks.contracts.resources import ArksApplication, ArksEndpoint, ArksModel, Resource
from arks.events.v1.facts_pb2 import EndpointFact, Replica, ReplicasFact, ReplicaState, RoutedReplica
from arks.events.v1.load_pb2 import LoadReport, ReplicaLoad
from arks.kit.testing.golden import assert_golden
from arks.local.files.paths import Paths
from arks.local.files.state import Phase, Service, ServiceState, State
from arks.local.render import (
    decisions,
    describe,
    doctor,
    events,
    explain,
    kinds,
    plain,
    replay,
    requests,
    resources,
    status,
    top,
    usage,
)
from arks.local.render.prices import parse_prices, with_costs
from arks.local.render.table import UNLIMITED
from arks.local.render.yaml_text import to_yaml

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
GIGABYTE = 10**9
GOLDEN = Path(__file__).parent / "golden"


def condition(kind: str, value: str, reason: str, message: str) -> dict[str, object]:
    return {
        "type": kind,
        "status": value,
        "reason": reason,
        "message": message,
        "lastTransitionTime": "2026-03-01T11:58:00Z",
    }


def resource(kind: type[Resource], name: str, **more: object) -> dict[str, object]:
    metadata = {"name": name, "namespace": "default", "creationTimestamp": "2026-03-01T09:00:00Z", "generation": 2}
    return {"apiVersion": "arks.ai/v1", "kind": kind.__name__, "metadata": metadata, **more}


MODEL = resource(
    ArksModel, "qwen-7b", spec={"model": "Qwen/Qwen2.5-7B-Instruct-1M"}, status={"phase": "Ready", "conditions": []}
)
APPLICATION = resource(
    ArksApplication,
    "app-qwen",
    spec={"replicas": 2, "runtime": "sglang", "model": {"name": "qwen-7b"}},
    status={
        "phase": "Creating",
        "replicas": 2,
        "readyReplicas": 1,
        "conditions": [
            condition("Loaded", "True", "ModelLoadSucceeded", "the model is there"),
            condition("Ready", "False", "Starting", "1 of 2 replicas answer"),
        ],
        "instances": [
            {
                "name": "app-qwen-0",
                "address": "127.0.0.1:21001",
                "state": "Ready",
                "restarts": 0,
                "start": {"seconds": 75.5, "imageSeconds": 42.0, "loadSeconds": 33.0, "warmUpSeconds": 0.5},
            },
            {
                "name": "app-qwen-1",
                "address": "127.0.0.1:21002",
                "state": "BackOff",
                "restarts": 4,
                "message": "ended with status 1\nout of memory",
            },
        ],
    },
)
BROKEN = resource(ArksApplication, "broken", status={"phase": "Failed", "conditions": []})
ENDPOINT = resource(
    ArksEndpoint,
    "qwen-7b",
    spec={"defaultWeight": 5, "affinity": {"header": "session-id"}},
    status={
        "signalSource": "engine",
        "conditions": [condition("Ready", "True", "Ready", "")],
        "weights": [
            {"application": "app-qwen", "replica": "app-qwen-0", "weight": 75, "reason": "drains 3 requests/s"},
            {"application": "app-qwen", "replica": "app-qwen-1", "weight": 25, "reason": "drains 1 request/s"},
        ],
    },
)
EVENT = events.Event(
    "1",
    NOW - timedelta(seconds=42),
    "application.replica-failed",
    "default",
    "app-qwen",
    "EngineEnded",
    "app-qwen-1 ended with status 1: out of memory",
    {"kind": "ArksApplication"},
)


def decision(at: str, share: float) -> dict[str, object]:
    """Return a decision as endpoint-router explains it: two groups, and a replica that drains."""
    return {
        "decidedAt": at,
        "message": "requests go to app-qwen",
        "groups": [{"group": "app-qwen", "share": share}, {"group": "app-qwen/2", "share": 1 - share}],
        "candidates": [
            {"replica": "app-qwen-0", "address": "127.0.0.1:21001", "weight": 75, "reason": "3 running, 0.4 s ago"},
            {"replica": "app-qwen-1", "address": "127.0.0.1:21002", "weight": 25, "reason": "1 running, 0.4 s ago"},
            {"replica": "app-qwen-2", "address": "127.0.0.1:21003", "weight": 0, "reason": "draining"},
        ],
    }


CHANGES = [decision("2026-03-01T11:59:50.000+00:00", 0.6), decision("2026-03-01T11:50:00.000+00:00", 0.75)]
DECIDED = {"newest": CHANGES[0], "changes": CHANGES}


def request() -> requests.Request:
    """Return a request that began after the first decision and before the second."""
    return requests.Request(
        *("0198f3c2-77a1-7c1e-8f07-3f1c5a0d9b11", NOW - timedelta(minutes=5), "default", "ada", "qwen-7b", 200),
        *(120, 81, 250, 2250, "127.0.0.1:21002", "engine"),
        attempts=2,
    )


def of_a_known_replica() -> requests.Request:
    return replace(request(), replica="127.0.0.1:21001", replica_name="app-qwen-0")


def no_end() -> requests.Request:
    """Return a request that was in flight in an Envoy that was killed."""
    unknown = replace(request(), status=0, first_byte_milliseconds=0, duration_milliseconds=0, replica="", attempts=0)
    return replace(unknown, source="reservation")


def requests_table(width: int) -> str:
    shown = (request(), of_a_known_replica(), no_end())
    return requests.header(width) + "".join(requests.line(each, width) for each in shown)


READY = ReplicaState.REPLICA_STATE_READY


def replica(name: str, state: ReplicaState) -> Replica:
    return Replica(name=name, host="127.0.0.1", port=21001, state=state)


def rows() -> list[top.Row]:
    """Three replicas: one with a new load report, one with an old one, one without."""
    fact = ReplicasFact(
        namespace="default",
        application="app-qwen",
        replicas=[
            replica("app-qwen-0", ReplicaState.REPLICA_STATE_READY),
            replica("app-qwen-1", ReplicaState.REPLICA_STATE_DRAINING),
            replica("app-qwen-2", ReplicaState.REPLICA_STATE_STARTING),
        ],
    )
    fresh = ReplicaLoad(name="app-qwen-0", running_requests=3, waiting_requests=0, kv_cache_usage_ratio=0.42)
    fresh.generation_tokens_per_second = 1234.5
    fresh.measured_at.FromDatetime(NOW - timedelta(seconds=0.2))
    old = ReplicaLoad(name="app-qwen-1", running_requests=9)
    old.measured_at.FromDatetime(NOW - timedelta(seconds=60))
    report = LoadReport(namespace="default", application="app-qwen", replicas=[fresh, old])
    routed = RoutedReplica(application="app-qwen", name="app-qwen-0", weight=75)
    endpoint = EndpointFact(namespace="default", name="qwen-7b", replicas=[routed])
    return top.rows([fact], [endpoint], {("default", "app-qwen"): report}, NOW)


def supervisor_state() -> State:
    services = (
        Service("nats", ServiceState.READY, "nats://127.0.0.1:20001", 11, since=NOW.timestamp() - 90),
        Service(
            "metrics",
            ServiceState.RESTARTING,
            "http://127.0.0.1:20002",
            restarts=3,
            since=NOW.timestamp() - 2,
            problem="ended with status 1",
            last_lines=("cannot bind",),
        ),
    )
    return State(10, Phase.RUNNING, NOW.timestamp() - 100, {"gateway": 8080, "nats": 20001}, services)


def status_view() -> status.View:
    found = {kinds.APPLICATION: [APPLICATION], kinds.MODEL: [MODEL], kinds.ENDPOINT: [ENDPOINT]}
    return status.View(supervisor_state(), PATHS, True, found, 41 * GIGABYTE, 21 * GIGABYTE)


def sums(requests: int, prompt: int, completion: int) -> dict[str, int]:
    counts = {"requests": requests, "promptTokens": prompt, "completionTokens": completion}
    return counts | {"totalTokens": prompt + completion}


def usage_data() -> dict[str, Any]:
    items = [
        {"namespace": "default", "token": name, "endpoint": "qwen-7b", **numbers, "bySource": {"engine": numbers}}
        for name, numbers in (("ada", sums(1000, 25_000, 5_000)), ("grace", sums(3000, 50_000, 10_000)))
    ]
    return {"items": items, "total": sums(4000, 75_000, 15_000), "openReservations": 2}


GROUPS = ["namespace", "token", "endpoint"]
LISTINGS = [resources.Listing(kinds.APPLICATION, [APPLICATION]), resources.Listing(kinds.MODEL, [MODEL])]
REPLAYED = {
    "endpoint": "team/qwen-7b",
    "seconds": 60.0,
    "reports": 240,
    "recorded": {"shares": {"app-qwen-0": 0.75, "app-qwen-1": 0.25}, "decisions": [*reversed(CHANGES)]},
    "policy": {"shares": {"app-qwen-0": 1.0}, "decisions": []},
}
PATHS = Paths(Path("/home/ada/.arks"))
CASES: dict[str, Callable[[], str]] = {
    "get-one-kind": lambda: resources.tables(LISTINGS[:1], NOW),
    "get-wide": lambda: resources.tables(LISTINGS[:1], NOW, wide=True),
    "get-several-kinds-in-all-namespaces": lambda: resources.tables(LISTINGS, NOW, namespaces=True),
    "get-without-headers": lambda: resources.tables(LISTINGS[1:], NOW, headers=False),
    "get-names": lambda: resources.names(LISTINGS),
    "get-yaml": lambda: to_yaml(plain.as_list([MODEL], single=True)),
    "get-json-list": lambda: plain.to_json(plain.as_list([MODEL], single=False)),
    "describe": lambda: describe.describe(
        APPLICATION, [EVENT], [describe.LogTail("Last lines of app-qwen-1", ("loading", "out of memory"))], NOW
    ),
    "events": lambda: events.header() + events.line(EVENT, NOW, width=80),
    "events-in-all-namespaces": lambda: (
        events.header(namespaces=True) + events.line(EVENT, NOW, namespaces=True, width=80)
    ),
    "events-json": lambda: events.to_json_line(EVENT),
    "events-yaml": lambda: events.to_yaml_document(EVENT) + events.to_yaml_document(EVENT),
    "explain": lambda: explain.as_text(ENDPOINT, rows(), NOW, DECIDED),
    "explain-nothing-ready": lambda: explain.as_text(
        resource(ArksEndpoint, "qwen-7b", spec={}), [], NOW, {"newest": None, "changes": []}
    ),
    "explain-request": lambda: decisions.request_text(request(), CHANGES),
    "explain-old-request": lambda: decisions.request_text(replace(request(), replica=""), []),
    "replay": lambda: replay.as_text(REPLAYED),
    "replay-without-policy": lambda: replay.as_text({k: v for k, v in REPLAYED.items() if k != "policy"}),
    "requests": lambda: "".join(map(requests_table, (80, UNLIMITED))),
    "explain-request-without-end": lambda: decisions.request_text(no_end(), CHANGES),
    "status": lambda: status.as_text(status_view(), NOW.timestamp(), services=True),
    "status-json": lambda: plain.to_json(status.as_data(status_view(), NOW.timestamp())),
    "top": lambda: top.as_text(rows()),
    "top-nothing": lambda: top.as_text([]),
    "top-json": lambda: plain.to_json(top.as_data(rows())),
    "usage": lambda: usage.as_text(usage_data(), GROUPS, (None, None)),
    "usage-csv": lambda: usage.as_csv(usage_data(), GROUPS),
    "usage-costs": lambda: usage.as_text(
        with_costs(
            usage_data(),
            ["token"],
            parse_prices({"currency": "EUR", "models": {"*": {"input": 200, "output": "600"}}}),
        ),
        ["token"],
        (None, None),
    ),
    "usage-nothing": lambda: usage.as_text({"items": [], "total": sums(0, 0, 0)}, GROUPS, ("2026-01-01", "2026-01-31")),
}


@pytest.fixture(autouse=True)
def _in_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("case", CASES)
def test_output_equals_the_golden_file(case: str) -> None:
    assert_golden(GOLDEN / f"{case}.txt", CASES[case]())


@pytest.mark.parametrize("case", ["get-one-kind", "status", "top", "usage"])
def test_tables_fit_80_columns(case: str) -> None:
    assert max(len(line) for line in CASES[case]().splitlines()) <= 80


def test_a_secret_is_listed_without_its_values() -> None:
    metadata = {"name": "hf-token", "namespace": "default"}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "keys": 1}
    text = resources.tables([resources.Listing(kinds.SECRET, [secret])], NOW)
    assert "NAME       TYPE     KEYS\nhf-token   Opaque   1\n" == text


def test_a_full_disk_is_a_problem() -> None:
    added = [item for item in replace(status_view(), free_disk_bytes=0).problems if item.what == "disk"]
    assert [("full", "free some space")] == [(item.state, item.next_step) for item in added]
    assert "disk" not in {item.what for item in status_view().problems}
    assert [doctor.Level.PROBLEM, doctor.Level.WARNING] == [doctor.disk(size, "/").level for size in (0, 2 * 1024**3)]


@pytest.mark.parametrize(
    ("runtime", "running", "speed", "shown"),
    [("llamacpp", 1, 0, None), ("sglang", 1, 0, None), ("vllm", 1, 0, 0), ("llamacpp", 0, 0, 0), ("llamacpp", 1, 9, 9)],
)
def test_an_answer_without_a_count_of_its_tokens_has_an_unknown_speed(
    runtime: str, running: int, speed: int, shown: int | None
) -> None:
    load = ReplicaLoad(name="app-qwen-0", running_requests=running, generation_tokens_per_second=speed)
    load.measured_at.FromDatetime(NOW)
    fact = ReplicasFact(
        namespace="default", application="app-qwen", runtime=runtime, replicas=[replica("app-qwen-0", READY)]
    )
    report = LoadReport(namespace="default", application="app-qwen", replicas=[load])
    (row,) = top.rows([fact], [], {("default", "app-qwen"): report}, NOW)
    assert shown == row.generation_tokens_per_second


@pytest.mark.parametrize(
    ("found", "restarts", "heading"),
    [
        (ServiceState.WAITING, 0, "Arks is starting, for 100s"),
        (ServiceState.STARTING, 0, "Arks is starting, for 100s"),
        (ServiceState.STARTING, 1, "Arks is up, 1 problem, for 100s"),
    ],
)
def test_services_that_start_for_the_first_time_are_a_start(found: ServiceState, restarts: int, heading: str) -> None:
    services = (Service("nats", found, "nats://127.0.0.1:20001", restarts=restarts),)
    view = replace(status_view(), state=replace(supervisor_state(), services=services), resources={})
    assert heading == status.as_text(view, NOW.timestamp(), services=False).splitlines()[0]


@pytest.mark.parametrize(
    ("found", "restarts", "ready", "what"),
    [
        (ServiceState.WAITING, 0, 0, ["service app-deployer"]),
        (ServiceState.STARTING, 0, 0, ["service app-deployer"]),
        (ServiceState.RESTARTING, 1, 1, ["service app-deployer", "application broken"]),
        (ServiceState.READY, 0, 1, ["application broken"]),
    ],
)
def test_statuses_of_the_last_run_are_neither_ready_nor_problems(
    found: ServiceState, restarts: int, ready: int, what: list[str]
) -> None:
    services = (Service("app-deployer", found, "", restarts=restarts), Service("model-manager", ServiceState.READY, ""))
    serves = {"observedGeneration": 2, "conditions": [condition("Ready", "True", "Running", "")]}
    held = {kinds.APPLICATION: [{**APPLICATION, "status": serves}, BROKEN], kinds.MODEL: [{**MODEL, "status": serves}]}
    view = replace(status_view(), state=replace(supervisor_state(), services=services), resources=held)
    counted = status.as_data(view, NOW.timestamp())["resources"]
    assert {"ready": ready, "all": 2} == counted["arksapplications"]
    assert {"ready": 1, "all": 1} == counted["arksmodels"]
    assert what == [problem.what for problem in view.problems]


def test_many_problems_are_cut_to_the_screen() -> None:
    services = tuple(Service(f"s{number}", ServiceState.RESTARTING, "", restarts=1) for number in range(30))
    view = replace(status_view(), state=replace(supervisor_state(), services=services), resources={})
    lines = status.as_text(view, NOW.timestamp(), services=False).splitlines()
    assert "Arks is up, 30 problems, for 100s" == lines[0]
    assert 20 == sum(line.startswith("✗") for line in lines)
    assert "… and 10 more: `arks status -o json` has all" == lines[-1]


def test_ages_of_changes_are_aligned() -> None:
    times = ("11:59:50", "11:56:01", "11:50:00", "06:29:00")
    shown = decisions.changes(
        [
            decision(f"2026-03-01T{time_}.000+00:00", share)
            for time_, share in zip(times, (0.1, 0.2, 0.3, 0.4), strict=True)
        ],
        NOW,
    )
    assert ["    10s ago", "  3m59s ago", "    10m ago", "  5h31m ago"] == [line[:11] for line in shown[1:]]


@pytest.mark.parametrize(
    "shown",
    [
        lambda: explain.as_text(ENDPOINT, rows(), NOW, DECIDED, 40),
        lambda: decisions.request_text(request(), CHANGES, 40),
        lambda: top.as_text(rows(), 40),
        lambda: usage.as_text(usage_data(), GROUPS, (None, None), 40),
    ],
    ids=["explain", "explain-request", "top", "usage"],
)
def test_reports_fit_40_columns(shown: Callable[[], str]) -> None:
    assert max(len(line) for line in shown().splitlines()) <= 40
