"""`arks requests`: list or follow requests of clients."""

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from arks.local.cli.connection import on_bus
from arks.local.cli.missing import fail_if_missing, print_nothing, warn_of_missing
from arks.local.cli.names import complete_endpoints
from arks.local.cli.options import (
    NO_HOME,
    NO_NAMESPACE,
    AllNamespacesOption,
    HomeOption,
    NamespaceOption,
    Output,
    OutputOption,
)
from arks.local.cli.output import print_text, terminal_width
from arks.local.cli.times import parse_since
from arks.local.render.kinds import ENDPOINT, TOKEN

if TYPE_CHECKING:
    from arks.local.render.requests import Request


def requests(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Follow: print requests as they end.")] = False,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Only of this endpoint.", autocompletion=complete_endpoints)
    ] = None,
    token: Annotated[str | None, typer.Option("--token", help="Only of this ArksToken.")] = None,
    errors: Annotated[bool, typer.Option("--errors", help="Only with a status of 400 or more.")] = False,
    since: Annotated[str, typer.Option("--since", help="Oldest request: 90s, 15m, 2h, or a date.")] = "15m",
    namespace: NamespaceOption = NO_NAMESPACE,
    all_namespaces: AllNamespacesOption = False,
    output: OutputOption = None,
    home: HomeOption = NO_HOME,
) -> None:
    """List requests that were admitted and have ended: model, key, status, tokens and durations.

    FIRST is the time to the first byte of the answer. Terminals of 140 columns, pipes and `-o` show tokens per second,
    attempts and the replica too; `arks explain ENDPOINT --request ID` has the reasons. STATUS is `-` if the client left
    first, or if no end was logged, as when the gateway is killed: such a request is charged what was reserved. Requests
    without a valid key are not listed.

    \b
    arks requests
    arks requests -f --errors
    """
    from arks.local.render.requests import Request, header, line

    def wanted(request: Request) -> bool:
        return (
            (model is None or request.endpoint == model)
            and (token is None or request.token == token)
            and (not errors or request.status >= 400)
        )

    async def show(start: datetime, where: str | None) -> int:
        count, width = 0, terminal_width()
        async with on_bus(home) as bus:
            async for request in bus.requests(where, start, follow=follow):
                if not wanted(request):
                    continue
                if output is not None:
                    print_text(_as_data(request, output))
                else:
                    print_text((header(width) if count == 0 else "") + line(request, width))
                count += 1
        return count

    start = parse_since(since, datetime.now(UTC))
    where = None if all_namespaces else namespace
    named = [(kind, name) for kind, name in ((ENDPOINT, model), (TOKEN, token)) if name is not None]
    if follow:
        warn_of_missing(home, named, where)
    count = asyncio.run(show(start, where))
    if count == 0:
        fail_if_missing(home, named, where)
    if count == 0 and output is None:
        print_nothing("requests", start, where)


def _as_data(request: "Request", output: Output) -> str:
    from arks.local.render.requests import to_json_line
    from arks.local.render.yaml_text import to_yaml

    return to_json_line(request) if output == Output.JSON else f"---\n{to_yaml(request.as_data())}"
