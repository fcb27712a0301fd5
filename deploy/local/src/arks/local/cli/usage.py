"""`arks usage`: requests and tokens, from the ledger."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from arks.local.cli.connection import running_state
from arks.local.cli.failure import Exit, fail
from arks.local.cli.home import ClusterHome, Home
from arks.local.cli.options import NO_HOME, AllNamespacesOption, HomeOption, OutputOption
from arks.local.cli.output import print_data, print_text, terminal_width
from arks.local.cli.reading import read
from arks.local.cli.service_query import TIMEOUT_SECONDS, of_cluster, of_machine
from arks.local.files.paths import Paths
from arks.local.render.kinds import ENDPOINT, QUOTA, TOKEN, Kind
from arks.local.render.quantities import next_month
from arks.local.render.spelling import closest

if TYPE_CHECKING:
    from arks.local.render.prices import Prices

_PRICES_STEP = "write it as `models: {qwen: {input: 0.20, output: 0.60}}`, prices of a million tokens; `*`: all others"
_GROUPS = ("namespace", "token", "endpoint", "quota", "day")
_BY_HELP = f"Columns to group by, with commas: {', '.join(_GROUPS)}."
_SINCE_HELP = "First day (UTC), as 2026-10-01, or 7d for the last seven days."


def usage(
    namespace: Annotated[str | None, typer.Option("--namespace", "-n", help="Only this; default: all.")] = None,
    token: Annotated[str | None, typer.Option("--token", help="Only this ArksToken.")] = None,
    endpoint: Annotated[str | None, typer.Option("--endpoint", "-e", help="Only this ArksEndpoint.")] = None,
    quota: Annotated[str | None, typer.Option("--quota", help="Only what was charged to this ArksQuota.")] = None,
    since: Annotated[str | None, typer.Option("--since", help=_SINCE_HELP)] = None,
    until: Annotated[str | None, typer.Option("--until", help="Last day (UTC), included.")] = None,
    month: Annotated[str | None, typer.Option("--month", help="A whole month, as 2026-10.")] = None,
    by: Annotated[str, typer.Option("--by", help=_BY_HELP)] = "namespace,token,endpoint",
    csv: Annotated[bool, typer.Option("--csv", help="Comma-separated values, for a spreadsheet.")] = False,
    prices: Annotated[
        Path | None, typer.Option("--prices", metavar="FILE", help="Show costs, by prices of a YAML file.")
    ] = None,
    all_namespaces: AllNamespacesOption = False,
    output: OutputOption = None,
    home: HomeOption = NO_HOME,
) -> None:
    """Show requests and tokens, from the ledger. TOKEN is an API key; INPUT, OUTPUT and TOTAL are tokens of text.

    Days are of UTC. SOURCE in -o json: engine (counted by the engine), delivered (the answer ended early: counted
    from what the client got), reservation (nothing was reported: the reservation is charged), none (no tokens).

    \b
    arks usage --month 2026-10 --by namespace
    arks usage --since 7d --by day -n team-a
    arks usage --since 2026-10-01 --until 2026-10-31 --by namespace,day --csv > october.csv
    arks usage --month 2026-10 --by namespace --prices prices.yaml
    """
    from arks.local.render.usage import as_csv, as_text

    groups = _groups(by)
    first, last = _days(since, until, month, datetime.now(UTC).date())
    filters = {"namespace": None if all_namespaces else namespace, "token": token, "endpoint": endpoint, "quota": quota}
    known_prices = None if prices is None else _read_prices(prices)
    by_endpoint = groups if known_prices is None or "endpoint" in groups else [*groups, "endpoint"]
    period = {"since": first, "until": last, "group_by": ",".join(by_endpoint)}
    data = query(home, {name: value for name, value in (filters | period).items() if value is not None})
    if known_prices is not None:
        from arks.local.render.prices import with_costs

        data = with_costs(data, groups, known_prices)
    if not data["items"]:
        _check_names(home, filters)
    if csv:
        print_text(as_csv(data, groups))
    elif output is None:
        print_text(as_text(data, groups, (first, last), terminal_width()))
    else:
        print_data(data, output)


def _read_prices(file: Path) -> "Prices":
    """Raises Failure."""
    import yaml

    from arks.local.render.prices import InvalidPrices, parse_prices

    try:
        return parse_prices(yaml.safe_load(file.read_text()))
    except OSError as error:
        fail(f"cannot read {file}: {error.strerror}", _PRICES_STEP, Exit.USAGE)
    except (yaml.YAMLError, UnicodeDecodeError):
        fail(f"{file} is not YAML", _PRICES_STEP, Exit.USAGE)
    except InvalidPrices as error:
        fail(f"{file}: {error}", _PRICES_STEP, Exit.USAGE)


def _groups(by: str) -> list[str]:
    groups = [group.strip() for group in by.split(",") if group.strip()]
    for group in groups:
        if group not in _GROUPS:
            guess = closest(group, _GROUPS)
            hint = f"did you mean {guess}?" if guess else f"use {', '.join(_GROUPS)}"
            fail(f"cannot group by {group!r}", hint, Exit.USAGE)
    return [group for group in _GROUPS if group in groups]


def _days(since: str | None, until: str | None, month: str | None, today: date) -> tuple[str | None, str | None]:
    """The first and the last day, both included. Raises Failure."""
    if month is None:
        first_day, last_day = _day(since, today), _day(until, today)
        if first_day and last_day and first_day > last_day:
            fail(f"--since {first_day} is after --until {last_day}", "exchange them", Exit.USAGE)
        return first_day, last_day
    if since or until:
        fail("give either --month or --since and --until", "as in `arks usage --month 2026-10`", Exit.USAGE)
    try:
        first = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC).date()
    except ValueError:
        fail(f"{month!r} is not a month", "write it as 2026-10", Exit.USAGE)
    last = next_month(first) - timedelta(days=1)
    return first.isoformat(), last.isoformat()


def _day(text: str | None, today: date) -> str | None:
    """A day, or the day before which `7d` ago began: today is the last of the seven."""
    if text is None:
        return None
    if text[-1:] == "d" and text[:-1].isdigit() and len(text) < 7:
        return (today - timedelta(days=max(0, int(text[:-1]) - 1))).isoformat()
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        fail(f"{text!r} is not a day", "write it as 2026-10-01, or 7d for the last seven days", Exit.USAGE)


def _check_names(home: Home, filters: dict[str, str | None]) -> None:
    """Raises Failure for a filter that names nothing: zero usage would look like no spending."""
    kinds: dict[str, Kind] = {"token": TOKEN, "endpoint": ENDPOINT, "quota": QUOTA}
    found = read(home, list(kinds.values()))
    everything = [item["metadata"] for items in found.values() for item in items]
    for filter_name, value in filters.items():
        if value is None:
            continue
        if filter_name == "namespace":
            known = {metadata["namespace"] for metadata in everything}
        else:
            known = {item["metadata"]["name"] for item in found[kinds[filter_name]]}
        if value not in known:
            guess = closest(value, known)
            hint = f"did you mean {guess}?" if guess else f"known: {', '.join(sorted(known)[:10]) or 'none'}"
            fail(f"there is no {filter_name} {value!r}, and nothing was ever charged to it", hint)


def query(home: Home, parameters: dict[str, str]) -> dict[str, Any]:
    """Query token-quota's API. Raises Failure."""
    from urllib.parse import urlencode

    path = f"/v1/usage?{urlencode(parameters)}"
    try:
        status, text = (
            of_cluster(home, "token-quota", "api", path) if isinstance(home, ClusterHome) else _of_machine(home, path)
        )
    except (OSError, TimeoutError) as error:
        fail(f"token-quota does not answer: {str(error) or type(error).__name__}", "see `arks status`")
    if status != 200:
        fail(f"token-quota answered {status}: {text.strip()[:200]}", "see `arks logs token-quota`")
    data: dict[str, Any] = json.loads(text)
    return data


def _of_machine(home: Path, path: str) -> tuple[int, str]:
    """Status and body. Raises OSError."""
    from arks.local.client.unix_http import UnixConnection

    paths = Paths.of(home)
    running_state(paths)
    return of_machine(UnixConnection(paths.token_quota_socket, TIMEOUT_SECONDS), path)
