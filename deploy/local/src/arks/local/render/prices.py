"""What usage costs: prices of endpoints' tokens, from a file of the user. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

OTHERS = "*"
"""Stands for every endpoint that has no price of its own."""
_MILLION = 1_000_000
_NOTHING = dict.fromkeys(("requests", "promptTokens", "completionTokens", "totalTokens"), 0)
_EXAMPLE = "models: {qwen: {input: 0.20, output: 0.60}}"


class InvalidPrices(Exception):
    """The message names the field and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Price:
    """Of a million tokens."""

    input: Decimal
    output: Decimal


@dataclass(frozen=True, slots=True)
class Prices:
    currency: str
    """As the file has it: EUR, USD."""
    by_endpoint: Mapping[str, Price]

    def cost(self, item: Mapping[str, Any]) -> Decimal | None:
        """Of a row of usage with its endpoint; None without a price for it."""
        price = self.by_endpoint.get(item["endpoint"], self.by_endpoint.get(OTHERS))
        if price is None:
            return None
        tokens = int(item["promptTokens"]) * price.input + int(item["completionTokens"]) * price.output
        return tokens / _MILLION


def parse_prices(data: object) -> Prices:
    """`data`: the file, read as YAML. Raises InvalidPrices."""
    top = _mapping(data, "the file", {"currency", "models"})
    currency, models = top.get("currency", ""), top.get("models")
    if not isinstance(currency, str):
        raise InvalidPrices("currency: must be a text, as EUR")
    if not isinstance(models, dict) or not models:
        raise InvalidPrices(f"models: must have the prices of endpoints, as {_EXAMPLE}")
    return Prices(currency, {str(name): _price(price, f"models.{name}") for name, price in models.items()})


def _price(data: object, where: str) -> Price:
    fields = _mapping(data, where, {"input", "output"})
    return Price(_amount(fields, "input", where), _amount(fields, "output", where))


def _mapping(data: object, where: str, known: set[str]) -> Mapping[str, Any]:
    if not isinstance(data, dict):
        raise InvalidPrices(f"{where}: must have {' and '.join(sorted(known))}")
    for name in data:
        if name not in known:
            raise InvalidPrices(f"{where}: unknown field {name!r}; it has {' and '.join(sorted(known))}")
    return data


def _amount(fields: Mapping[str, Any], name: str, where: str) -> Decimal:
    try:
        amount = Decimal(str(fields[name]))
    except KeyError:
        raise InvalidPrices(f"{where}.{name}: is missing; the price of a million tokens") from None
    except InvalidOperation:
        raise InvalidPrices(f"{where}.{name}: {fields[name]!r} is not a number") from None
    if not amount.is_finite() or amount < 0:
        raise InvalidPrices(f"{where}.{name}: {fields[name]!r} is not a price")
    return amount


def with_costs(data: Mapping[str, Any], groups: Sequence[str], prices: Prices) -> dict[str, Any]:
    """Usage that was queried by these groups and by endpoint, as usage by these groups with `cost`, a decimal number as
    text (None: no price), `currency`, and `unpriced`: endpoints without a price, whose tokens are in no cost.
    """
    rows: dict[tuple[str, ...], dict[str, Any]] = {}
    costs: dict[tuple[str, ...], Decimal] = {}
    unpriced = set()
    for item in data["items"]:
        key = tuple(str(item[group]) for group in groups)
        _add(rows.setdefault(key, {**{group: item[group] for group in groups}, **_NOTHING, "bySource": {}}), item)
        cost = prices.cost(item)
        if cost is None:
            unpriced.add(str(item["endpoint"]))
        else:
            costs[key] = costs.get(key, Decimal(0)) + cost
    items = [row | {"cost": None if key not in costs else f"{costs[key]:f}"} for key, row in rows.items()]
    total = {**data["total"], "cost": f"{sum(costs.values(), Decimal(0)):f}"}
    return {**data, "items": items, "total": total, "currency": prices.currency, "unpriced": sorted(unpriced)}


def _add(row: dict[str, Any], item: Mapping[str, Any]) -> None:
    for name in _NOTHING:
        row[name] += int(item[name])
    for source, sums in item.get("bySource", {}).items():
        before = row["bySource"].get(source, _NOTHING)
        row["bySource"][source] = {name: before[name] + int(sums[name]) for name in _NOTHING}
