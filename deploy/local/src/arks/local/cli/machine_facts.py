"""What commands look up about this machine."""

import shutil
from pathlib import Path


def free_disk_bytes(path: Path) -> int:
    """Of the file system that holds the path, or will hold it."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free
