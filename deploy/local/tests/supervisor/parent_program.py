"""Listen on a port and leave an orphaned grandchild, as app-deployer does: `parent_program.py PID_FILE PORT`."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from arks.kit.process import die_with_parent

FOREVER_SECONDS = 600


def main() -> None:
    pid_file, port = Path(sys.argv[1]), int(sys.argv[2])
    middle = os.fork()
    if middle == 0:
        subprocess.Popen([sys.executable, __file__, "orphan", str(pid_file), str(os.getpid())])
        os._exit(0)
    os.waitpid(middle, 0)
    with socket.create_server(("127.0.0.1", port)):
        time.sleep(FOREVER_SECONDS)


def orphan(pid_file: Path, first_parent: int) -> None:
    """Wait for the adoption by another process, write the pid file, and die with the new parent."""
    while os.getppid() == first_parent:
        time.sleep(0.01)
    die_with_parent(os.getppid())()
    pid_file.write_text(str(os.getpid()))
    time.sleep(FOREVER_SECONDS)


if __name__ == "__main__":
    if sys.argv[1] == "orphan":
        orphan(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
