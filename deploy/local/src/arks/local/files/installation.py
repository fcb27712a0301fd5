"""Whether the programs that run are those that are installed now.

The version does not show it: a checkout that is updated keeps it.
"""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from arks.kit.files import write_atomically
from arks.local.files.paths import Paths

_PROGRAMS = (".py", ".so")


def write_installation(paths: Paths, roots: Iterable[str]) -> None:
    """Keep which installation starts. `roots`: the directories of its package. Raises OSError."""
    write_atomically(paths.installation, _digest(roots), mode=0o600)


def has_changed(paths: Paths, roots: Iterable[str]) -> bool:
    """Whether another installation started what runs, or one before a change of its files."""
    try:
        return paths.installation.read_text() != _digest(roots)
    except OSError:  # of a release that did not keep it
        return True


def _digest(roots: Iterable[str]) -> str:
    """Of the paths, sizes and times of change of all programs: reading them would take ten times as long."""
    digest = hashlib.sha256()
    for root in sorted(roots):
        for directory, _, files in sorted(os.walk(root)):
            for name in sorted(files):
                if name.endswith(_PROGRAMS):
                    found = (Path(directory) / name).stat()
                    digest.update(f"{directory}/{name} {found.st_size} {found.st_mtime_ns}\n".encode())
    return digest.hexdigest()
