"""Whether a shell finds the `arks` command, and what makes it find it."""

import os
import shutil
import sys
from pathlib import Path

_USER_DIRECTORIES = (".local/bin", "bin")
"""Directories in a home that users have on their PATH for links like this."""


def command_path_note(*, link: bool) -> str:
    """A line for the user if `arks` is not found; empty if it is. `link`: put a link on the PATH if possible."""
    command = Path(sys.argv[0]).absolute()
    if command.name != "arks" or finds(command):
        return ""
    made = _linked(command) if link else None
    if made is not None:
        return f"\n`arks` is now a command: {made} links to {command}\n"
    return f'\n`arks` is not on your PATH. Run this line first:\n  export PATH="{command.parent}:$PATH"\n'


def finds(command: Path) -> bool:
    """Whether the shell's `arks` is this command."""
    found = shutil.which("arks")
    return found is not None and Path(found).resolve() == command.resolve()


def _linked(command: Path) -> Path | None:
    """A new link in a directory of the user's that is on the PATH; None if there is none or its name is taken."""
    home = Path.home()
    on_path = {Path(entry) for entry in os.environ.get("PATH", "").split(os.pathsep) if entry}
    for directory in (home / name for name in _USER_DIRECTORIES):
        link = directory / "arks"
        if directory not in on_path or shutil.which("arks") is not None:
            continue
        try:
            if link.is_symlink() and not link.exists():  # of a checkout that was removed
                link.unlink()
            directory.mkdir(parents=True, exist_ok=True)
            link.symlink_to(command)
        except OSError:
            continue
        return link
    return None
