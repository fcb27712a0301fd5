"""Runs a service in a process of one machine: `python -m arks.local.programs.service arks.metrics.main`.

Libraries of the services import optional ones wherever those are installed, and here they are, for the arks command:
structlog takes rich for its development output (0.25 s and 4 MB a process), redis OpenTelemetry (0.35 s and 4 MB).
In a service's own image they are not there; here they are hidden from it.
"""

import os
import runpy
import sys


def main() -> None:
    hidden = ["rich", "pygments"]
    if not os.environ.get("ARKS_OTLP_ENDPOINT"):
        hidden.append("opentelemetry")
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # importing it then fails as if it were not installed
    module = sys.argv[1]
    del sys.argv[1]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
