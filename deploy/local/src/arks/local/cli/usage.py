"""`arks usage`: who used how many tokens."""

import http.client
import json
from typing import Annotated, Any
from urllib.parse import urlencode

import typer

from arks.local.cli.common import (
    NO_HOME,
    HomeOption,
    Output,
    OutputOption,
    fail,
    paths_of,
    running_state,
    say,
)

_ANSWER_SECONDS = 10.0


def usage(
    namespace: Annotated[str | None, typer.Option("--namespace", "-n", help="Only this; default: all.")] = None,
    token: Annotated[str | None, typer.Option("--token", help="Only this ArksToken.")] = None,
    endpoint: Annotated[str | None, typer.Option("--endpoint", help="Only this ArksEndpoint.")] = None,
    output: OutputOption = None,
    home: HomeOption = NO_HOME,
) -> None:
    """Say how many requests and tokens were used, by key and endpoint, from the ledger.

    \b
    arks usage
    arks usage -n team-a --token ada -o json
    """
    from arks.local.render import resources as render
    from arks.local.render.usage import as_text

    state = running_state(paths_of(home))
    wanted = {"namespace": namespace, "token": token, "endpoint": endpoint}
    data = _ask(state.ports["token-quota-api"], {name: value for name, value in wanted.items() if value is not None})
    if output is None:
        say(as_text(data["items"]))
    else:
        say(render.to_json(data) if output == Output.JSON else render.to_yaml(data))


def _ask(port: int, wanted: dict[str, str]) -> dict[str, Any]:
    """Raises Failure."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_ANSWER_SECONDS)
    try:
        connection.request("GET", f"/v1/usage?{urlencode(wanted)}")
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        fail(f"token-quota does not answer: {str(error) or type(error).__name__}", "see `arks status`")
    finally:
        connection.close()
    if answer.status != 200:
        fail(f"token-quota answers {answer.status}: {text.strip()[:200]}", "see `arks logs token-quota`")
    data: dict[str, Any] = json.loads(text)
    return data


def add_to(app: typer.Typer) -> None:
    app.command()(usage)
