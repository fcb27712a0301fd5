"""`arks env`: what SDKs of OpenAI need to reach the models of this Arks."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from arks.local.cli.connection import running_state
from arks.local.cli.key_file import read_key
from arks.local.cli.options import NO_HOME, LocalHomeOption
from arks.local.cli.output import print_text
from arks.local.files.paths import Paths
from arks.local.plan.addresses import GATEWAY, gateway_url


def env(
    key_file: Annotated[
        Path | None, typer.Option("--key-file", help="File with the API key; default: the demo's.", dir_okay=False)
    ] = None,
    home: LocalHomeOption = NO_HOME,
) -> None:
    """Print OPENAI_BASE_URL and OPENAI_API_KEY for a shell. The key is printed in full: it is meant to be evaluated.

    \b
    eval "$(arks env)"
    arks env --key-file team.key
    """
    paths = Paths.of(home)
    state = running_state(paths)
    values = {
        "OPENAI_BASE_URL": gateway_url(state.ports[GATEWAY]),
        "OPENAI_API_KEY": read_key(key_file or paths.demo_key),
    }
    print_text("".join(f"export {name}={shlex.quote(value)}\n" for name, value in values.items()))
