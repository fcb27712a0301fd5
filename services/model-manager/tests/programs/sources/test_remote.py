"""Clients of HTTP sources."""

from pathlib import Path

import pytest

from arks.model_manager.programs.sources.remote import http_store

URL = "http://127.0.0.1:9/model.gguf"


def test_the_ranges_of_a_file_are_read_by_one_client() -> None:
    assert http_store(URL, {"authorization": "a"}) is http_store(URL, {"authorization": "a"})


def test_other_credentials_and_certificates_have_another_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = http_store(URL, {"authorization": "a"})
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    clients = {id(store) for store in (first, http_store(URL, {"authorization": "a"}), http_store(URL))}
    assert 3 == len(clients)
