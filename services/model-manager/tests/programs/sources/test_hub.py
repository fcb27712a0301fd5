"""Errors of hubs as a user reads them in the status of a model."""

import httpx2

from arks.model_manager.domain.protocol import DownloadRequest
from arks.model_manager.programs.sources.hub import failed


def test_a_hub_that_has_no_address_is_named_with_the_reason_in_words() -> None:
    request = DownloadRequest("/models/tiny", "fingerprint", "acme/tiny", "https://hub.example.com", "main")
    error = httpx2.ConnectError("[Errno -2] Name or service not known")
    assert "https://hub.example.com cannot be reached: Name or service not known" == str(failed(error, request))
