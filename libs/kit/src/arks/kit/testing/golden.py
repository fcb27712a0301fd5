"""Golden files: outputs that were reviewed once, beside their inputs.

REWRITE_GOLDEN=1 writes the outputs; read the difference before you commit it.
"""

import os
from pathlib import Path


def cases(directory: Path, input_suffix: str) -> list[str]:
    """The names of all inputs without `input_suffix` (.in.yaml, .in.txt), sorted."""
    return sorted(path.name.removesuffix(input_suffix) for path in directory.glob(f"*{input_suffix}"))


def assert_golden(path: Path, text: str) -> None:
    """Compare `text` with the file. Raises AssertionError, and FileNotFoundError if there is no such file."""
    if os.environ.get("REWRITE_GOLDEN") == "1":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert path.read_text() == text
