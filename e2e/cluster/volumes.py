#!/usr/bin/env python3
"""Makes new volumes writable for all users, like real provisioners. The controller manager creates them for root only,
and Kubernetes does not apply fsGroup to hostPath volumes, so other users could not write.
"""

import os
import sys
import time
from pathlib import Path

POLL_SECONDS = 0.1  # much less than from a PVC to the start of its pod


def main() -> None:
    volumes = Path(sys.argv[1])
    volumes.mkdir(exist_ok=True)
    opened: set[str] = set()
    while True:
        existing = {entry.name for entry in os.scandir(volumes)}
        for name in existing - opened:
            (volumes / name).chmod(0o777)
        opened = existing
        time.sleep(POLL_SECONDS)


if __name__ == "__main__":
    main()
