"""A whole Arks for one test: `arks up` with its own directory, port and real model."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from arks.kit.ports import free_port
from arks.kit.testing import manifests
from arks.kit.testing.servers import small_model
from arks.local.cli.failure import Failure
from arks.local.cli.reading import read
from arks.local.files.paths import Paths
from arks.local.files.state import Service
from arks.local.files.state_file import state_if_running
from arks.local.render.kinds import APPLICATION, TOKEN, Kind

ARKS = str(Path(sys.executable).parent / "arks")
UP_SECONDS = 240
_READY_SECONDS = 60.0
_PROBLEMS = 1
"""Exit code of `arks status` if something is wrong: tests read what it is."""


class CommandError(Exception):
    """The arks command failed; the message is what it printed."""


@dataclass
class ArksHarness:
    """An Arks with the demo; `up` starts it, `down` stops it.

    What tests wait for is read as the commands read it, but in this process: a command takes a third of a second of a
    processor, which the programs under test need.
    """

    home: Path
    environment: dict[str, str] = field(default_factory=dict)
    """Of `arks up`, besides that of the test."""
    port: int = field(default_factory=free_port)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def key(self) -> str:
        return (self.home / "demo-key").read_text().strip()

    def arks(self, *arguments: str, stdin: str | None = None, seconds: float = 120.0, check: bool = True) -> str:
        """Run the arks command with this home; return its output. Raises CommandError."""
        done = subprocess.run(
            [ARKS, *arguments],
            env=os.environ | self.environment | {"ARKS_HOME": str(self.home), "NO_COLOR": "1", "COLUMNS": "120"},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        if check and done.returncode and not (arguments[0] == "status" and done.returncode == _PROBLEMS):
            raise CommandError(f"arks {' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout if check else done.stdout + done.stderr

    def json(self, *arguments: str) -> Any:
        return json.loads(self.arks(*arguments, "-o", "json"))

    def apply(self, *documents: dict[str, Any]) -> str:
        return self.arks("apply", "-f", "-", stdin=yaml.safe_dump_all(documents))

    def apply_token(self, *documents: dict[str, Any]) -> None:
        """Apply tokens and what they refer to; return when all tokens are Ready."""
        self.apply(*documents)
        tokens = [document["metadata"] for document in documents if document["kind"] == "ArksToken"]
        deadline = time.monotonic() + _READY_SECONDS
        while not all(self._is_ready(token["name"], token["namespace"]) for token in tokens):
            if time.monotonic() > deadline:
                raise CommandError(f"not ready after {_READY_SECONDS:g} s: {tokens}")
            time.sleep(0.05)

    def _is_ready(self, token: str, namespace: str) -> bool:
        conditions = self._resource(TOKEN, token, namespace).get("status", {}).get("conditions", [])
        return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)

    def up(self, *options: str) -> str:
        return self.arks("up", "--port", str(self.port), *options, seconds=UP_SECONDS)

    def down(self) -> str:
        return self.arks("down")

    def service(self, name: str) -> Service:
        """Raises LookupError."""
        state = state_if_running(Paths.of(self.home))
        found = state.service(name) if state is not None else None
        if found is None:
            raise LookupError(f"no service {name} runs")
        return found

    def pid(self, service: str) -> int:
        """Raises LookupError."""
        pid = self.service(service).pid
        if pid is None:
            raise LookupError(f"{service} has no process now")
        return pid

    def kill(self, service: str) -> int:
        """Kill a service with SIGKILL; return its process id."""
        pid = self.pid(service)
        os.kill(pid, signal.SIGKILL)
        return pid

    def engines(self, application: str = "smollm2", namespace: str = "default") -> list[dict[str, Any]]:
        """`status.instances` of an application. Raises LookupError and CommandError."""
        found = self._resource(APPLICATION, application, namespace)
        return list(found.get("status", {}).get("instances", []))

    def _resource(self, kind: Kind, name: str, namespace: str) -> dict[str, Any]:
        try:
            found = read(self.home, [kind])[kind]
        except Failure as error:
            raise CommandError(str(error)) from error
        for item in found:
            if (item["metadata"]["name"], item["metadata"]["namespace"]) == (name, namespace):
                return item
        raise LookupError(f"no {kind.name} {name} in {namespace}")


async def until(condition: Any, *, within_seconds: float, what: str) -> Any:
    """Like kit's `eventually`, for blocking conditions: each runs in a thread. Errors of the command count as false."""
    end = time.monotonic() + within_seconds
    last: object = None
    while time.monotonic() < end:
        try:
            last = await asyncio.to_thread(condition)
        except (CommandError, LookupError, OSError, ValueError) as error:
            last = error
        else:
            if last:
                return last
        await asyncio.sleep(0.1)
    raise AssertionError(f"{what} did not come true within {within_seconds} s; last: {last!r}")


def small_file_model(name: str = "smollm2", namespace: str = "default") -> dict[str, Any]:
    """The real small model, from its file on this machine."""
    return manifests.model(name, source={"file": {"path": str(small_model())}}, namespace=namespace)
