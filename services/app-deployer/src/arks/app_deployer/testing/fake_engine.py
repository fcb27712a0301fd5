"""A fake engine without a model, controlled by the test: `python engine.py --port N [--fail WHY] [--load SECONDS]`.

Besides what engines serve: `POST /busy/N` sets its work, `POST /did/N` adds tokens that it has made,
`POST /end/STATUS` ends it, `POST /deaf` silences /health.
"""

import argparse
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Engine(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port: int, load_seconds: float) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.loaded_at = time.monotonic() + load_seconds
        self.busy = 0
        self.tokens = 0
        self.deaf = False


class Handler(BaseHTTPRequestHandler):
    server: Engine

    def do_GET(self) -> None:
        if self.path == "/metrics":
            load = f"llamacpp:requests_processing {self.server.busy}\nllamacpp:requests_deferred 0\n"
            self._answer(200, f"{load}llamacpp:tokens_predicted_total {self.server.tokens}\n")
        elif self.server.deaf:
            time.sleep(60)
        else:
            self._answer(200 if time.monotonic() >= self.server.loaded_at else 503, "")

    def do_POST(self) -> None:
        _, verb, *rest = self.path.split("/")
        if verb == "busy":
            self.server.busy = int(rest[0])
        elif verb == "did":
            self.server.tokens += int(rest[0])
        elif verb == "deaf":
            self.server.deaf = True
        elif verb == "end":
            sys.stderr.write("these are\nthe last words\n")
            sys.stderr.flush()
            os._exit(int(rest[0]))
        self._answer(200, "{}")

    def log_message(self, *_: object) -> None:
        """Its log belongs to the test."""

    def _answer(self, status: int, body: str) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--port", type=int, required=True)
    options.add_argument("--load", type=float, default=0.0)
    options.add_argument("--fail")
    options.add_argument("--version")
    given = options.parse_args()
    if given.fail:
        raise SystemExit(given.fail)
    Engine(given.port, given.load).serve_forever()


if __name__ == "__main__":
    main()
