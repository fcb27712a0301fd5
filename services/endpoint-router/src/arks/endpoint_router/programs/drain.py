"""Keep an Envoy's pod alive until its requests have ended; the main container of that pod.

`python -m arks.endpoint_router.programs.drain` does nothing until SIGTERM. Then it drains Envoy, so that every answer
makes its client connect anew. It waits until clients have noticed that the pod is terminating (`settle`), then until no
request has been in flight for a second, and exits. Envoy and the usage shipper are sidecars, which Kubernetes stops
afterwards in this order. Without this program Envoy would cut its streams, because it exits at once on SIGTERM.

The module imports the standard library only, and no settings class: it runs beside every Envoy and must cost little.
"""

import argparse
import http.client
import json
import math
import signal
import sys
import time
from collections.abc import Callable

POLL_SECONDS = 0.2
QUIET_SECONDS = 1.0
"""Without a request in flight: a node that is late still sends new connections to the pod, and Envoy would cut them."""
ADMIN_SECONDS = 2.0
FAILURES = 10
"""Queries in a row without an answer after which Envoy counts as gone: 2 s if no process listens, 20 s if it hangs."""
ACTIVE_REQUESTS = "http.gateway.downstream_rq_active"
"""`gateway` is the stat prefix of the listener that endpoint-router serves."""


class EnvoyAdmin:
    """Client of Envoy's admin interface on loopback. Methods raise OSError if it does not answer."""

    def __init__(self, port: int) -> None:
        self._port = port

    def drain(self) -> None:
        self._query("POST", "/drain_listeners?graceful&skip_exit")

    def active_requests(self) -> int:
        """Return the requests in flight; 0 also before Envoy has its listener."""
        stats = json.loads(self._query("GET", f"/stats?format=json&filter=^{ACTIVE_REQUESTS}$"))["stats"]
        return sum(int(stat["value"]) for stat in stats if stat.get("name") == ACTIVE_REQUESTS)

    def _query(self, method: str, path: str) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=ADMIN_SECONDS)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            body = answer.read()
        except http.client.HTTPException as error:
            raise OSError(f"Envoy's admin interface: {error!r}") from error
        finally:
            connection.close()
        if answer.status != 200:
            raise OSError(f"Envoy's admin interface: {method} {path}: {answer.status}")
        return body


def drain(
    admin: EnvoyAdmin,
    settle_seconds: float,
    drain_seconds: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Return when no request has been in flight for QUIET_SECONDS, after the time limit, or when Envoy is gone; the
    reason, for the log.
    """
    deadline = clock() + settle_seconds + drain_seconds
    draining, failures, quiet_since = False, 0, math.inf
    while True:
        try:
            if not draining:
                admin.drain()
                draining = True
                sleep(settle_seconds)
            active, now = admin.active_requests(), clock()
            quiet_since = math.inf if active else min(quiet_since, now)
            if now - quiet_since >= QUIET_SECONDS:
                return "no request is in flight"
            failures = 0
            if active and now >= deadline:
                return f"{active} requests are still in flight after the time limit"
        except OSError as error:
            failures += 1
            if failures >= FAILURES or clock() >= deadline:
                return f"Envoy does not answer: {error}"
        sleep(POLL_SECONDS)


def _wait_for_signal() -> None:
    """Process 1 of a container must handle the signal, or the kernel ignores it."""
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    _log("waiting for SIGTERM")
    signal.sigwait(signals)


def _log(message: str) -> None:
    sys.stdout.write(json.dumps({"service": "drain", "event": message}) + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--admin-port", type=int, required=True)
    parser.add_argument("--settle-seconds", type=float, required=True)
    parser.add_argument("--drain-seconds", type=float, required=True)
    arguments = parser.parse_args()
    _wait_for_signal()
    _log("draining")
    _log(drain(EnvoyAdmin(arguments.admin_port), arguments.settle_seconds, arguments.drain_seconds))


if __name__ == "__main__":
    main()
