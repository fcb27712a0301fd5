"""The application of a process."""

import subprocess
import sys

import pytest


@pytest.mark.real
def test_collections_of_garbage_do_not_visit_what_was_loaded() -> None:
    program = "import gc, openai_api_server; print(gc.get_freeze_count() > 10 * len(gc.get_objects()))"
    found = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert "True" == found.stdout.strip()
