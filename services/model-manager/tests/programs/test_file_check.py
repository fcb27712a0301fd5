"""Checks of local files."""

import hashlib
import os
from pathlib import Path

import pytest

from arks.model_manager.domain.failures import DownloadFailed
from arks.model_manager.domain.protocol import CheckRequest
from arks.model_manager.programs.byte_counter import ByteCounter
from arks.model_manager.programs.file_check import check_file

pytestmark = pytest.mark.real

WEIGHTS = os.urandom(1_500_000)
CONFIG = b'{"architectures": ["Tiny"]}'
FILES = {"config.json": CONFIG, "model.gguf": WEIGHTS, "sub/vocab.txt": b"a\nb\n", "empty.txt": b""}
MANY = "acme/tiny"


def test_a_file_with_another_digest_is_refused_with_both(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(b"GGUF")
    with pytest.raises(DownloadFailed, match=hashlib.sha256(b"GGUF").hexdigest()):
        check_file(CheckRequest(str(path), "0" * 64, str(tmp_path / "record.json")), ByteCounter())
    assert not (tmp_path / "record.json").exists()
