"""The download worker of a pod: `python -m arks.model_manager.programs.worker`. It handles one source, then exits.

The source is in its arguments and in MODEL_NAME, MODEL_PATH and the variables of its credentials. Reports go to
stdout, where the service reads the last lines; the outcome goes to the file that Kubernetes keeps as the container's
termination message.
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from arks.model_manager.adapters.inspection import inspect_hub, inspect_stored
from arks.model_manager.domain.credentials import VARIABLES
from arks.model_manager.domain.failures import FailureKind
from arks.model_manager.domain.garbage import HIGH_PERCENT, LOW_PERCENT
from arks.model_manager.domain.observation import Content, StoredWeights
from arks.model_manager.domain.protocol import DownloadRequest, Found, Outcome, Report, outcome_to_json
from arks.model_manager.domain.source_kind import HttpFile, SourceKind
from arks.model_manager.programs.download import HUB_LIBRARY, Send, run, sender
from arks.model_manager.programs.termination import end_at_sigterm

REPORT_SECONDS = 1.0
"""Reports are log lines here: a long download shall not fill the node's logs."""
_MESSAGE_CHARACTERS = 2000
"""Kubernetes keeps 4096 bytes of a termination message."""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse what `worker_arguments` of the Kubernetes adapter writes."""
    parser = argparse.ArgumentParser(prog="arks.model_manager.programs.worker", description=__doc__)
    parser.add_argument("--stored", action="store_true", help="download nothing: report what the storage holds")
    parser.add_argument("--fingerprint", required=True, help="of the source")
    parser.add_argument("--endpoint", default="", help="of the hub")
    parser.add_argument("--revision", default="main")
    parser.add_argument("--kind", type=SourceKind, default=SourceKind.HUB, help="of the source")
    parser.add_argument("--region", default="", help="of the bucket; for Azure the storage account")
    parser.add_argument("--file", action="append", default=[], help="file of an HTTP source, as JSON")
    parser.add_argument("--allow", action="append", default=[], help="pattern of files to download")
    parser.add_argument("--ignore", action="append", default=[], help="pattern of files to skip")
    parser.add_argument("--connections", type=int, default=4, help="streams at once")
    parser.add_argument("--bytes-per-second", type=int, help="of all streams")
    parser.add_argument("--reserve-bytes", type=int, default=0, help="space that stays free on the disk")
    parser.add_argument("--store", default="", help="directory in which models of the storage share equal files")
    parser.add_argument(
        "--high-percent", type=float, default=HIGH_PERCENT, help="of the disk: unused files are deleted"
    )
    parser.add_argument("--low-percent", type=float, default=LOW_PERCENT, help="of the disk: until so much is used")
    parser.add_argument("--result", type=Path, required=True, help="file that the outcome is written to")
    return parser.parse_args(arguments)


def work(options: argparse.Namespace, environment: Mapping[str, str], send: Send) -> Outcome:
    """Inspect the directory, download what is missing, and inspect it again. Raises OSError."""
    directory = Path(environment["MODEL_PATH"])
    if options.stored:
        return _outcome(directory, inspect_stored(directory), Report())
    stored = inspect_hub(directory, options.fingerprint)
    if stored.content is not Content.COMPLETE:
        last = run(_request(directory, options, environment), send, REPORT_SECONDS)
        if not last.done:
            return Outcome(replace(last, message=last.message[:_MESSAGE_CHARACTERS]))
        return _outcome(directory, inspect_hub(directory, options.fingerprint), last)
    return _outcome(directory, stored, Report(stored.size_bytes, stored.size_bytes))


def _outcome(directory: Path, stored: StoredWeights, last: Report) -> Outcome:
    if stored.content is not Content.COMPLETE:
        message = (stored.message or f"{directory} changed during its download")[:_MESSAGE_CHARACTERS]
        return Outcome(replace(last, done=False, failure=FailureKind.STORAGE, message=message))
    path, memory = Path(stored.path), stored.memory
    found = Found(
        file="" if path == directory else str(path.relative_to(directory)),
        size_bytes=stored.size_bytes,
        file_count=stored.file_count,
        revision=stored.revision,
        sha256=stored.sha256,
        weights_bytes=memory.weights_bytes if memory else 0,
        kv_bytes_per_token=(memory and memory.kv_cache_bytes_per_token) or 0,
        context_tokens=(memory and memory.context_tokens) or 0,
    )
    return Outcome(replace(last, done=True), found)


def _request(directory: Path, options: argparse.Namespace, environment: Mapping[str, str]) -> DownloadRequest:
    return DownloadRequest(
        directory=str(directory),
        fingerprint=options.fingerprint,
        repository=environment["MODEL_NAME"],
        endpoint=options.endpoint,
        revision=options.revision,
        allow_patterns=tuple(options.allow),
        ignore_patterns=tuple(options.ignore),
        kind=options.kind,
        region=options.region,
        files=tuple(HttpFile(**json.loads(file)) for file in options.file),
        credentials={name: value for name in VARIABLES if (value := environment.get(name, "").strip())},
        connections=options.connections,
        bytes_per_second=options.bytes_per_second,
        reserve_bytes=options.reserve_bytes,
        store=options.store,
        high_percent=options.high_percent,
        low_percent=options.low_percent,
    )


def main() -> int:
    end_at_sigterm()
    options = parse(sys.argv[1:])
    os.environ.update(HUB_LIBRARY)
    try:
        outcome = work(options, os.environ, sender(sys.stdout))
    except OSError as error:
        message = f"{error.filename or os.environ['MODEL_PATH']}: {error.strerror}"
        outcome = Outcome(Report(failure=FailureKind.STORAGE, message=message))
    options.result.write_text(outcome_to_json(outcome))
    return 0 if outcome.report.done else 1


if __name__ == "__main__":
    sys.exit(main())
