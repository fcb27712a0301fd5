"""The columns of `arks get` answer the question at a glance."""

from datetime import UTC, datetime
from typing import Any

import pytest

from arks.local.render import kinds
from arks.local.render.columns import columns_of
from arks.local.render.quantities import compact
from arks.local.render.resources import GrowingTable, Listing, tables
from arks.local.render.sorting import UnknownColumn, sorted_listing

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
NOT_READY = {"conditions": [{"type": "Ready", "status": "False", "reason": "QuotaNotFound", "message": "no quota q"}]}


def resource(kind: kinds.Kind, name: str = "x", **parts: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "default", "creationTimestamp": "2026-03-01T09:00:00Z", "generation": 1}
    return {"kind": kind.name, "metadata": metadata, **parts}


def cells(kind: kinds.Kind, **parts: Any) -> dict[str, str]:
    return {column.name: column.cell(resource(kind, **parts), NOW) for column in columns_of(kind)}


def test_a_quota_shows_its_tightest_limit() -> None:
    found = cells(
        kinds.QUOTA,
        spec={
            "quotas": [{"type": "prompt", "value": 1_000_000}, {"name": "total", "value": 1_000_000}],
            "period": "month",
        },
        status={"quotaStatus": [{"type": "prompt", "used": 10}, {"type": "total", "used": 812_400}]},
    )
    expected = {"Used": "812.4k", "Limit": "1M", "Left": "19%", "Type": "total", "Period": "month", "Resets": "in 30d"}
    assert expected.items() <= found.items()


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, "never"),
        ({"expiresAt": "2026-03-08T12:00:00Z"}, "in 7d"),
        ({"expiresAt": "2026-02-01T00:00:00Z"}, "expired"),
        ({"expiresAt": "2026-03-08T12:00:00Z", "disabled": True}, "revoked"),
    ],
)
def test_a_token_shows_when_it_expires(spec: dict[str, Any], expected: str) -> None:
    assert expected == cells(kinds.TOKEN, spec=spec)["Expires"]


def test_a_token_shows_what_it_may_use_and_why_it_may_not() -> None:
    qos = [
        {"arksEndpoint": {"name": name}, "rateLimits": [{"type": "rpm", "value": 20_000}], "quota": {"name": "q"}}
        for name in ("a", "b", "c")
    ]
    found = cells(kinds.TOKEN, spec={"qos": qos}, status=NOT_READY)
    expected = {"Ready": "False", "Endpoints": "a,b,+1", "Limits": "rpm 20k", "Quota": "q", "Why": "no quota q"}
    assert expected.items() <= found.items()


def test_a_model_shows_its_size_and_while_it_downloads_how_much_of_it_is_there() -> None:
    assert "98.4 MB" == cells(kinds.MODEL, status={"phase": "Ready", "sizeBytes": 98_400_000})["Size"]
    progress = {"phase": "ModelLoading", "progress": {"percent": 62.3, "totalBytes": 398_000_000}}
    assert "62% of 398.0 MB" == cells(kinds.MODEL, status=progress)["Size"]


def test_an_endpoint_without_a_weight_shows_the_default() -> None:
    assert "1" == cells(kinds.ENDPOINT, spec={})["Default Weight"]
    assert "vllm" == cells(kinds.APPLICATION, spec={})["Runtime"]


def test_why_is_a_column_only_if_something_is_wrong_and_age_comes_before_it() -> None:
    good = resource(kinds.TOKEN, spec={"qos": []}, status={"conditions": [{"type": "Ready", "status": "True"}]})
    good["status"]["observedGeneration"] = 1
    assert tables([Listing(kinds.TOKEN, [good])], NOW).splitlines()[0].endswith("AGE")
    bad = resource(kinds.TOKEN, spec={"qos": []}, status=NOT_READY)
    assert tables([Listing(kinds.TOKEN, [good, bad])], NOW).splitlines()[0].split()[-2:] == ["AGE", "WHY"]


def test_listings_are_sorted_by_value() -> None:
    sizes = [resource(kinds.MODEL, str(size), status={"sizeBytes": size}) for size in (900, 10_000, 50)]
    listing = Listing(kinds.MODEL, [*sizes, resource(kinds.MODEL, "none")])
    found = sorted_listing(listing, "SIZE", NOW)
    assert ["50", "900", "10000", "none"] == [item["metadata"]["name"] for item in found.objects]
    by_path = sorted_listing(listing, "{.metadata.name}", NOW)
    assert ["10000", "50", "900", "none"] == [item["metadata"]["name"] for item in by_path.objects]
    with pytest.raises(UnknownColumn, match="ArksModel has no column 'weather'; columns: name, phase, size"):
        sorted_listing(listing, "weather", NOW)


def test_counts_are_compact_and_never_rounded_up() -> None:
    assert ["999", "1k", "812.4k", "999.9k", "1M", "1.5G"] == [
        compact(value) for value in (999, 1000, 812_400, 999_999, 1_000_000, 1_500_000_000)
    ]


def watched(*models: dict[str, Any], headers: bool = True) -> list[str]:
    shown = GrowingTable(kinds.MODEL, wide=False, namespaces=False, headers=headers)
    shown.fit(models[:2], NOW)
    return [line for model in models for line in shown.row(model, NOW).splitlines()]


def test_rows_of_a_watch_are_aligned_with_their_header() -> None:
    small, long = (resource(kinds.MODEL, name, status={"phase": "Ready"}) for name in ("qwen", "smollm2-instruct"))
    header, *rows = watched(small, long, small)
    assert {header.index("PHASE")} == {row.index("Ready") for row in rows}


def test_columns_of_a_watch_grow_and_never_shrink() -> None:
    names = ("a", "b", "a-name-that-is-longer", "a")
    rows = watched(*(resource(kinds.MODEL, name, status={"phase": "Ready"}) for name in names), headers=False)
    starts = [row.index("Ready") for row in rows]
    assert starts[0] == starts[1] < starts[2] == starts[3]
