"""`arks replay`: the decisions of a recorded trace again, also with another spec."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from arks.local.cli.failure import Exit, fail
from arks.local.cli.options import OutputOption
from arks.local.cli.output import print_data, print_text

_PROGRAM = "arks.endpoint_router.programs.replay"
"""It knows how decisions are taken; this command does not."""


def replay(
    trace: Annotated[Path, typer.Argument(metavar="TRACE", help="A file that `arks record` has printed.")],
    policy: Annotated[
        Path | None, typer.Option("--policy", metavar="FILE", help="Manifest of an ArksEndpoint: its spec instead.")
    ] = None,
    output: OutputOption = None,
) -> None:
    """Take the decisions of a trace again: each replica's share of the requests, and each change.

    With --policy also as they would have been with the spec of that manifest.

    \b
    arks record smollm2 > trace.jsonl
    arks replay trace.jsonl
    arks replay trace.jsonl --policy endpoint.yaml
    """
    from arks.local.render.replay import as_text

    result = decisions(trace, policy)
    if output is not None:
        print_data(result, output)
    else:
        print_text(as_text(result))


def decisions(trace: Path, policy: Path | None) -> dict[str, Any]:
    """What the program prints. Raises Failure."""
    command = [sys.executable, "-m", _PROGRAM, str(trace), *(["--policy", str(policy)] if policy else [])]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        message = ended.stderr.strip().rpartition("\n")[2] or f"{_PROGRAM} ended with status {ended.returncode}"
        fail(message, _next_step(message, policy), Exit.USAGE if ended.returncode == Exit.USAGE else Exit.FAILED)
    data: dict[str, Any] = json.loads(ended.stdout)
    return data


def _next_step(message: str, policy: Path | None) -> str:
    if policy is not None and str(policy) in message:
        return "--policy takes the manifest of an ArksEndpoint; `arks get endpoint NAME -o yaml` prints it"
    return "`arks record ENDPOINT > FILE` writes a trace"
