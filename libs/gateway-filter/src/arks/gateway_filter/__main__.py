"""Copy the library into a directory, for an Envoy in another container: `python -m arks.gateway_filter DIRECTORY`."""

import argparse
import shutil
from pathlib import Path

from arks.gateway_filter import MODULE, library_directory


def copy_library(directory: Path) -> Path:
    """Return the copy. An existing one is replaced as a whole, because an Envoy may have mapped it. Raises OSError."""
    name = f"lib{MODULE}.so"
    part = directory / f"{name}.part"
    shutil.copyfile(library_directory() / name, part)
    return part.replace(directory / name)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m arks.gateway_filter", description=__doc__)
    parser.add_argument("directory", type=Path, metavar="DIRECTORY")
    copy_library(parser.parse_args().directory)
