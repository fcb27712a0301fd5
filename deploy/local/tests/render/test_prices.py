"""What usage costs."""

import csv
import io
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from arks.local.render import usage
from arks.local.render.prices import InvalidPrices, parse_prices, with_costs

PRICES = parse_prices(
    {"currency": "EUR", "models": {"qwen": {"input": 0.2, "output": 0.6}, "gift": {"input": 0, "output": 0}}}
)
NAMES = ("qwen", "gift", "unpriced")


def sums(requests: int, prompt: int, completion: int) -> dict[str, int]:
    counts = {"requests": requests, "promptTokens": prompt, "completionTokens": completion}
    return counts | {"totalTokens": prompt + completion}


def usage_of(*items: dict[str, Any]) -> dict[str, Any]:
    names = ("requests", "promptTokens", "completionTokens")
    return {"items": list(items), "total": sums(*(sum(item[name] for item in items) for name in names))}


def item(namespace: str, endpoint: str, prompt: int, completion: int) -> dict[str, Any]:
    used = sums(1, prompt, completion)
    return {"namespace": namespace, "endpoint": endpoint, **used, "bySource": {"engine": used}}


def test_prices_are_of_a_million_tokens() -> None:
    found = with_costs(usage_of(item("a", "qwen", 1_000_000, 500_000)), ["namespace"], PRICES)
    assert (Decimal("0.5"), "EUR") == (Decimal(found["items"][0]["cost"]), found["currency"])


ROWS = st.lists(
    st.builds(item, st.sampled_from("ab"), st.sampled_from(NAMES), *[st.integers(0, 10**12)] * 2), max_size=8
)


@given(ROWS, st.lists(st.sampled_from(["namespace", "endpoint"]), unique=True))
def test_costs_and_tokens_are_the_same_by_any_group(rows: list[dict[str, Any]], groups: list[str]) -> None:
    found = with_costs(usage_of(*rows), groups, PRICES)
    known = [Decimal(row["cost"]) for row in found["items"] if row["cost"] is not None]
    assert Decimal(found["total"]["cost"]) == sum(known)
    assert Decimal(found["total"]["cost"]) == sum(
        (Decimal(row["promptTokens"]) * 2 + Decimal(row["completionTokens"]) * 6) / 10_000_000
        for row in rows
        if row["endpoint"] == "qwen"
    )
    for name in ("requests", "promptTokens", "completionTokens", "totalTokens"):
        counted = sum(row[name] for row in found["items"])
        assert found["total"][name] == counted == sum(row["bySource"]["engine"][name] for row in found["items"])


def test_the_example_of_the_page() -> None:
    page = (Path(__file__).parents[4] / "docs/usage.md").read_text().partition("## Costs")[2]
    file, table = re.findall(r"^```\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    data = usage_of(
        item("team-a", "qwen", 18_200_000, 6_100_000) | {"requests": 41_230, "bySource": {}},
        item("team-b", "llama", 7_400_000, 2_500_000) | {"requests": 9_870, "bySource": {}},
    )
    found = with_costs(data, ["namespace"], parse_prices(yaml.safe_load(file)))
    assert table == usage.as_text(found, ["namespace"], (None, None))


def test_an_endpoint_without_a_price_is_named_and_is_no_zero() -> None:
    found = with_costs(usage_of(item("a", "unpriced", 5, 5)), ["endpoint"], PRICES)
    assert [None] == [row["cost"] for row in found["items"]]
    shown = usage.as_text(found, ["endpoint"], (None, None))
    assert "not in the costs, because there is no price: unpriced" in shown


def test_a_spreadsheet_gets_exact_costs_and_their_currency() -> None:
    found = with_costs(usage_of(item("a", "qwen", 1, 0)), ["namespace"], PRICES)
    (row,) = csv.DictReader(io.StringIO(usage.as_csv(found, ["namespace"])))
    assert (Decimal("0.0000002"), "EUR") == (Decimal(row["cost"]), row["currency"])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "the file: must have"),
        ({"models": {}}, "models: must have the prices"),
        ({"model": {}}, "unknown field 'model'"),
        ({"currency": 1, "models": {"q": {}}}, "currency: must be a text"),
        ({"models": {"q": 3}}, "models.q: must have input and output"),
        ({"models": {"q": {"input": 1}}}, "models.q.output: is missing"),
        ({"models": {"q": {"input": "free", "output": 1}}}, "'free' is not a number"),
        ({"models": {"q": {"input": -1, "output": 1}}}, "-1 is not a price"),
        ({"models": {"q": {"input": float("nan"), "output": 1}}}, "is not a price"),
    ],
)
def test_a_mistake_in_prices_is_named(data: object, message: str) -> None:
    with pytest.raises(InvalidPrices, match=message):
        parse_prices(data)
