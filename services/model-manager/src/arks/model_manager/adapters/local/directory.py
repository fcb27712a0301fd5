"""Create and remove the directories of models on one machine. Blocking."""

import os
import shutil
from pathlib import Path

from arks.kit.errors import Invalid, Unavailable
from arks.model_manager.adapters import marker
from arks.model_manager.domain.removal import Removal
from arks.model_manager.domain.storage_path import REMOVING


def create(directory: Path, root: Path, by: str) -> None:
    """Create the directory and mark it as Arks'; an existing one is used as it is. Raises Invalid, Unavailable.

    `by`: the model, for users who read the marker.
    """
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not directory.resolve().is_relative_to(root.resolve()):
            raise Invalid(f"{directory} leads out of {root}")
        directory.parent.mkdir(parents=True, exist_ok=True)
        if not directory.exists():
            directory.mkdir()
            marker.mark_created(directory, by)
    except OSError as error:
        raise Unavailable(f"{error.filename or directory} cannot be created: {error.strerror}") from error


def remove(directory: Path, root: Path) -> Removal:
    """Remove a directory that Arks created, at once or (after a kill) at the next start. Raises Unavailable."""
    if not directory.is_dir():
        return Removal.ABSENT
    if directory.is_symlink() or not marker.created_by_arks(directory) or directory.resolve() == root.resolve():
        return Removal.KEPT
    condemned = root / f"{REMOVING}{directory.name}-{os.getpid()}-{directory.stat().st_ino}"
    try:
        directory.replace(condemned)
        shutil.rmtree(condemned)
        _remove_empty_parents(directory.parent, root)
    except OSError as error:
        raise Unavailable(f"{error.filename or directory} cannot be removed: {error.strerror}") from error
    return Removal.REMOVED


def sweep(root: Path) -> None:
    """Finish the removals that a kill interrupted."""
    for condemned in root.glob(f"{REMOVING}*"):
        shutil.rmtree(condemned, ignore_errors=True)


def _remove_empty_parents(directory: Path, root: Path) -> None:
    while directory != root and directory.is_relative_to(root):
        try:
            directory.rmdir()
        except OSError:  # not empty: another model's directory is in it
            return
        directory = directory.parent
