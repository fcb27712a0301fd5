"""Keep an Envoy's pod alive until its requests have ended; the main container of that pod.

It does nothing until SIGTERM. Then it asks Envoy to drain, so that every answer tells its client to connect anew, waits
until clients have noticed that the pod is going (`settle`), and then until no request is under way, and ends. Envoy and
the usage shipper are sidecars: Kubernetes ends them afterwards, in this order. Without this program Envoy would cut its
streams, because it ends at once when it is told to.

Only the standard library, and no settings class: it lives beside every Envoy and should cost next to nothing.
"""

import argparse
import http.client
import json
import signal
import sys
import time
from collections.abc import Callable

POLL_SECONDS = 0.2
ADMIN_SECONDS = 2.0
FAILURES = 10
"""Questions in a row without an answer that mean that Envoy is gone: 2 s when nobody listens, 20 s when it hangs."""
ACTIVE_REQUESTS = "http.gateway.downstream_rq_active"
"""`gateway` is the stat prefix of the listener that endpoint-router serves."""


class EnvoyAdmin:
    """Envoy's admin interface on loopback. Methods raise OSError when it does not answer."""

    def __init__(self, port: int) -> None:
        self._port = port

    def drain(self) -> None:
        self._ask("POST", "/drain_listeners?graceful&skip_exit")

    def active_requests(self) -> int:
        """0 also while Envoy has not got its listener yet."""
        stats = json.loads(self._ask("GET", f"/stats?format=json&filter=^{ACTIVE_REQUESTS}$"))["stats"]
        return sum(int(stat["value"]) for stat in stats if stat.get("name") == ACTIVE_REQUESTS)

    def _ask(self, method: str, path: str) -> bytes:
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
    """Returns when nothing is under way, when the time is up, or when Envoy is gone; the reason in words."""
    deadline = clock() + settle_seconds + drain_seconds
    asked, failures = False, 0
    while True:
        try:
            if not asked:
                admin.drain()
                asked = True
                sleep(settle_seconds)
            if not (active := admin.active_requests()):
                return "no request is under way"
            failures = 0
            if clock() >= deadline:
                return f"{active} requests are still under way: their time is up"
        except OSError as error:
            failures += 1
            if failures >= FAILURES or clock() >= deadline:
                return f"Envoy does not answer, so there is nothing to wait for: {error}"
        sleep(POLL_SECONDS)


def _wait_for_the_end() -> None:
    """As process 1 of a container we have to handle the signal, or it is ignored."""
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    _say("waiting for the pod's end")
    signal.sigwait(ends)


def _say(message: str) -> None:
    sys.stdout.write(json.dumps({"service": "drain", "event": message}) + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--admin-port", type=int, required=True)
    parser.add_argument("--settle-seconds", type=float, required=True)
    parser.add_argument("--drain-seconds", type=float, required=True)
    arguments = parser.parse_args()
    _wait_for_the_end()
    _say("draining")
    _say(drain(EnvoyAdmin(arguments.admin_port), arguments.settle_seconds, arguments.drain_seconds))


if __name__ == "__main__":
    main()
