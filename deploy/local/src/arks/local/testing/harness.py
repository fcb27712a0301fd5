"""A whole Arks of the test's own: `arks up` in a directory and on a port of its own, real model and all."""

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

from arks.kit.process import free_port
from arks.kit.testing import manifests
from arks.kit.testing.servers import small_model

ARKS = str(Path(sys.executable).parent / "arks")
UP_SECONDS = 240
_KNOWN_SECONDS = 60.0


class CommandError(Exception):
    """The arks command failed; the message is what it printed."""


@dataclass
class Platform:
    home: Path
    port: int = field(default_factory=free_port)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def key(self) -> str:
        return (self.home / "demo-key").read_text().strip()

    def arks(self, *arguments: str, stdin: str | None = None, seconds: float = 120.0, check: bool = True) -> str:
        """Run the arks command on this platform and return what it printed. Raises CommandError."""
        done = subprocess.run(
            [ARKS, *arguments],
            env=os.environ | {"ARKS_HOME": str(self.home), "NO_COLOR": "1", "COLUMNS": "120"},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        if check and done.returncode:
            raise CommandError(f"arks {' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout if check else done.stdout + done.stderr

    def json(self, *arguments: str) -> Any:
        return json.loads(self.arks(*arguments, "-o", "json"))

    def apply(self, *documents: dict[str, Any]) -> str:
        return self.arks("apply", "-f", "-", stdin=yaml.safe_dump_all(documents))

    def apply_token(self, *documents: dict[str, Any]) -> None:
        """Apply tokens, with what they need; returns when token-quota knows all of it."""
        self.apply(*documents)
        tokens = [one["metadata"] for one in documents if one["kind"] == "ArksToken"]
        deadline = time.monotonic() + _KNOWN_SECONDS
        while not all(self._is_ready("arkstoken", one["name"], one["namespace"]) for one in tokens):
            if time.monotonic() > deadline:
                raise CommandError(f"not ready after {_KNOWN_SECONDS:g} s: {tokens}")
            time.sleep(0.05)

    def _is_ready(self, kind: str, name: str, namespace: str) -> bool:
        conditions = self.json("get", kind, name, "-n", namespace).get("status", {}).get("conditions", [])
        return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)

    def up(self, *options: str) -> str:
        return self.arks("up", "--port", str(self.port), *options, seconds=UP_SECONDS)

    def down(self) -> str:
        return self.arks("down")

    def pid(self, service: str) -> int:
        found = [one for one in self.json("status")["services"] if one["name"] == service]
        if not found:
            raise LookupError(f"no service {service} in arks status")
        return int(found[0]["pid"])

    def kill(self, service: str) -> int:
        """kill -9; returns the pid that was killed."""
        pid = self.pid(service)
        os.kill(pid, signal.SIGKILL)
        return pid

    def engines(self, application: str = "smollm2", namespace: str = "default") -> list[dict[str, Any]]:
        """`status.instances` of an application."""
        found = self.json("get", "arksapplication", application, "-n", namespace)
        return list(found.get("status", {}).get("instances", []))


async def until(condition: Any, *, within_seconds: float, what: str) -> Any:
    """Like kit's eventually, for conditions that block: each runs in a thread. Exceptions count as not yet."""
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
