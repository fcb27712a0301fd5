#!/usr/bin/env python3
"""Opens new volumes to every user. The controller manager makes them for root alone, and Kubernetes gives hostPath
volumes to no fsGroup, so a pod that does not run as root could not write; real provisioners make them like this.
"""

import os
import sys
import time
from pathlib import Path

LOOK_SECONDS = 0.1  # much less than from a claim to the start of its pod


def main() -> None:
    volumes = Path(sys.argv[1])
    volumes.mkdir(exist_ok=True)
    opened: set[str] = set()
    while True:
        there = {entry.name for entry in os.scandir(volumes)}
        for name in there - opened:
            (volumes / name).chmod(0o777)
        opened = there
        time.sleep(LOOK_SECONDS)


if __name__ == "__main__":
    main()
