"""Start a service of one machine: `python -m arks.local.programs.service arks.metrics.main`.

Libraries of the services import optional packages if these are installed, and the arks command needs them installed:
structlog imports rich for its development output (0.25 s and 4 MB a process), redis OpenTelemetry (0.35 s and 4 MB).
The image of a service does not have them; here they are hidden from it.
"""

import os
import runpy
import sys


def main() -> None:
    hidden = ["rich", "pygments"]
    if not os.environ.get("ARKS_OTLP_ENDPOINT"):
        hidden.append("opentelemetry")
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # an import of it fails as if it were not installed
    module = sys.argv[1]
    del sys.argv[1]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
