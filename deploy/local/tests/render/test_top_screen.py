"""The screen of `arks top`. REWRITE_GOLDEN=1 writes the screens."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from arks.events.v1.facts_pb2 import EndpointFact, RoutedReplica
from arks.kit.testing.golden import assert_golden
from arks.local.render.held import Held
from arks.local.render.sparkline import bar, sparkline
from arks.local.render.top import Row
from arks.local.render.top_screen import KEYS, SORTS, View, screen

GOLDEN = Path(__file__).parent / "golden"
NOW = datetime(2026, 10, 1, 12, 4, 31, tzinfo=UTC)


def row(number: int, **values: object) -> Row:
    base = Row(
        "default", "app-qwen", f"app-qwen-{number}", "Ready", running=2, waiting=0, kv_cache_ratio=0.5, weight=50_000
    )
    return replace(base, **({"prompt_tokens_per_second": 13.0, "generation_tokens_per_second": 22.0} | values))  # type: ignore[arg-type]


ROWS = [
    row(0),
    row(1, running=7.0, waiting=3.0, kv_cache_ratio=1.0, generation_tokens_per_second=1234.5),
    row(2, state="Failed", running=None, waiting=None, kv_cache_ratio=None, weight=None, problem="silent 12s"),
]
ENDPOINTS = [
    EndpointFact(namespace="default", name="qwen", ready=True, replicas=[RoutedReplica(name="app-qwen-0", weight=50)]),
    EndpointFact(
        namespace="team-a", name="llama", ready=False, message="no ready replicas: llama (0 of 1 ready, 100%)"
    ),
]
VIEW = View("all namespaces", ROWS, ENDPOINTS, [0, 1, 5, 9, 20, 14, 7] * 30, NOW)


@pytest.mark.parametrize(
    ("name", "view", "width", "height"),
    [
        ("top-80x24", VIEW, 80, 24),
        ("top-40x24", VIEW, 40, 24),
        ("top-200x50", replace(VIEW, sort="out/s"), 200, 50),
        ("top-columns-80x24", replace(VIEW, columns=True), 80, 24),
        ("top-many-80x24", replace(VIEW, rows=[row(number) for number in range(40)]), 80, 24),
        ("top-held-80x24", replace(VIEW, held=[Held("team-a", "llama", "llama", 12, 20.0, 40.0)]), 80, 24),
        ("top-empty-80x24", replace(VIEW, rows=[], endpoints=[], speeds=[]), 80, 24),
    ],
)
def test_the_screen(name: str, view: View, width: int, height: int) -> None:
    assert_golden(GOLDEN / f"{name}.txt", "".join(f"{line.text}\n" for line in screen(view, width, height)))


@pytest.mark.parametrize("width", [1, 20, 79, 80, 119, 120, 300])
@pytest.mark.parametrize("height", [1, 5, 24, 60])
@pytest.mark.parametrize("columns", [False, True])
def test_it_fits_every_terminal(width: int, height: int, columns: bool) -> None:
    rows = [row(number, problem="x" * 200, namespace=f"team-{number}") for number in range(30)]
    lines = screen(replace(VIEW, rows=rows, columns=columns), width, height)
    assert len(lines) <= height
    assert max(len(line.text) for line in lines) <= width
    assert lines[-1].text[:6] == KEYS[: min(6, width)] or width < 6


@pytest.mark.parametrize(
    ("sort", "first"), [("name", "app-qwen-0"), ("run", "app-qwen-1"), ("out/s", "app-qwen-1"), ("kv", "app-qwen-1")]
)
def test_replicas_are_sorted_by_the_column(sort: str, first: str) -> None:
    lines = [line.text for line in screen(replace(VIEW, sort=sort), 80, 24)]
    table = lines.index(next(line for line in lines if line.startswith("REPLICA")))
    assert first == lines[table + 1].split()[0]
    assert set(SORTS) >= {sort}


def test_what_has_no_room_is_counted() -> None:
    rows = [row(number) for number in range(40)]
    lines = [line.text for line in screen(replace(VIEW, rows=rows), 80, 24)]
    shown = sum(line.startswith("app-qwen") for line in lines)
    assert f"{40 - shown} more replicas" in lines


def test_a_problem_is_marked() -> None:
    styles = {line.text.split()[0]: line.style for line in screen(VIEW, 80, 24) if line.text.startswith("app-")}
    assert {"app-qwen-0": "", "app-qwen-1": "", "app-qwen-2": "bad"} == styles


@pytest.mark.parametrize(
    ("values", "width", "expected"),
    [([], 5, ""), ([0, 0], 5, "▁▁"), ([0, 1, 2], 5, "▁▅█"), ([9, 0, 2], 2, "▁█"), ([1], 0, "")],
)
def test_a_sparkline_has_the_newest_values(values: list[float], width: int, expected: str) -> None:
    assert expected == sparkline(values, width)


@pytest.mark.parametrize(("ratio", "expected"), [(None, "    "), (0, "░░░░"), (0.5, "██░░"), (1, "████"), (7, "████")])
def test_a_bar_is_full_at_one(ratio: float | None, expected: str) -> None:
    assert expected == bar(ratio, 4)


def test_requests_that_wait_are_described_in_full_or_counted() -> None:
    held = [Held(f"team-{number}", "llama", "llama", 12, 60.0 - number, 90.0) for number in range(9)]
    lines = [line.text for line in screen(replace(VIEW, held=held), 80, 24)]
    assert not [line for line in lines if "…" in line]
    (counted,) = [line for line in lines if "more models held" in line]
    shown = sum(line.startswith("12 requests for team-") for line in lines)
    assert f"requests for {len(held) - shown} more models held" == counted
