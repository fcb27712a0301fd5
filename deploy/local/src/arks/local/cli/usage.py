"""`arks usage`: requests and tokens, from the ledger."""

import http.client
import json
from typing import Annotated, Any
from urllib.parse import urlencode

import typer

from arks.local.cli.connection import running_state
from arks.local.cli.failure import fail
from arks.local.cli.options import NO_HOME, HomeOption, OutputOption
from arks.local.cli.output import print_data, print_text
from arks.local.files.paths import Paths

_TIMEOUT_SECONDS = 10.0


def usage(
    namespace: Annotated[str | None, typer.Option("--namespace", "-n", help="Only this; default: all.")] = None,
    token: Annotated[str | None, typer.Option("--token", help="Only this ArksToken.")] = None,
    endpoint: Annotated[str | None, typer.Option("--endpoint", help="Only this ArksEndpoint.")] = None,
    output: OutputOption = None,
    home: HomeOption = NO_HOME,
) -> None:
    """Show requests and tokens by API key and endpoint.

    \b
    arks usage
    arks usage -n team-a --token ada -o json
    """
    from arks.local.render.usage import as_text

    state = running_state(Paths.of(home))
    filters = {"namespace": namespace, "token": token, "endpoint": endpoint}
    given = {name: value for name, value in filters.items() if value is not None}
    data = _query(state.ports["token-quota-api"], given)
    if output is None:
        print_text(as_text(data["items"]))
    else:
        print_data(data, output)


def _query(port: int, filters: dict[str, str]) -> dict[str, Any]:
    """Query token-quota's API. Raises Failure."""
    from arks.local.plan.addresses import HOST

    connection = http.client.HTTPConnection(HOST, port, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request("GET", f"/v1/usage?{urlencode(filters)}")
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        fail(f"token-quota does not answer: {str(error) or type(error).__name__}", "see `arks status`")
    finally:
        connection.close()
    if answer.status != 200:
        fail(f"token-quota answered {answer.status}: {text.strip()[:200]}", "see `arks logs token-quota`")
    data: dict[str, Any] = json.loads(text)
    return data
