"""Take the decisions of a trace again and print them; `arks replay` runs it.

`python -m arks.endpoint_router.programs.replay TRACE [--policy FILE]` reads a trace (service/trace.py) and prints
`{"endpoint", "seconds", "reports", "recorded": {"shares", "decisions"}, "policy": the same}` as JSON. FILE is a
manifest of an ArksEndpoint, whose spec replaces the recorded one; without it there is no "policy". Decisions are as
`GET /explain` returns them. Exits with 2 and a message if a file cannot be read.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from arks.contracts.resources import ArksEndpoint
from arks.endpoint_router.service.replay import Replayed, replay
from arks.endpoint_router.service.status import explanation
from arks.endpoint_router.service.trace import Line, NotATrace, read
from arks.events.v1.load_pb2 import LoadReport


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Take the decisions of a trace again.")
    parser.add_argument("trace", type=Path)
    parser.add_argument("--policy", type=Path, help="manifest of an ArksEndpoint")
    options = parser.parse_args(arguments)
    try:
        trace, recorded = _trace(options.trace)
        policy = None if options.policy is None else _policy(options.policy, recorded)
    except OSError as error:
        sys.stderr.write(f"cannot read {error.filename}: {error.strerror}\n")
        return 2
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    result: dict[str, Any] = {
        "endpoint": f"{recorded.namespace}/{recorded.name}",
        "seconds": round(trace[-1].at - trace[0].at, 3),
        "reports": sum(isinstance(line.content, LoadReport) for line in trace),
        "recorded": _printed(replay(trace, recorded)),
    }
    if policy is not None:
        result["policy"] = _printed(replay(trace, policy))
    sys.stdout.write(f"{json.dumps(result)}\n")
    return 0


def _trace(path: Path) -> tuple[list[Line], ArksEndpoint]:
    """Return the lines, and the endpoint of the first one. Raises OSError and ValueError."""
    try:
        with path.open() as file:
            trace = list(read(file))
    except NotATrace as error:
        raise ValueError(f"{path} is no trace of `arks record`: {error}") from error
    if not trace or not isinstance(trace[0].content, ArksEndpoint):
        raise ValueError(f"{path} is empty; `arks record ENDPOINT` prints a trace")
    return trace, trace[0].content


def _policy(path: Path, recorded: ArksEndpoint) -> ArksEndpoint:
    """Return the recorded endpoint with the spec of the file. Raises OSError and ValueError."""
    try:
        documents = list(yaml.safe_load_all(path.read_text()))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    endpoints = [given for given in documents if isinstance(given, dict) and given.get("kind") == "ArksEndpoint"]
    if len(endpoints) != 1:
        raise ValueError(f"{path} has {len(endpoints)} manifests of an ArksEndpoint, not one")
    (given,) = endpoints
    metadata = {"namespace": recorded.namespace, "name": recorded.name}
    try:
        return ArksEndpoint.from_dict(given | {"metadata": metadata})
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{path}: {'.'.join(str(part) for part in first['loc'])}: {first['msg']}") from error


def _printed(replayed: Replayed) -> dict[str, Any]:
    return {
        "shares": {name: round(share, 5) for name, share in sorted(replayed.shares.items())},
        "decisions": [explanation(decision, decision.now) for decision in replayed.decisions],
    }


if __name__ == "__main__":
    sys.exit(main())
